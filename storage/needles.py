"""Finds bytes that must be gone: short pieces of what was erased, looked for in files of any size."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

NEEDLE_BYTES = 64
_SHORTEST = 16  # a shorter embedding says nothing: it may be anywhere by chance
_ANCHOR_BYTES = 8
_CHUNK_BYTES = 4 << 20
_START_OF_SCAN = b"\xff\xda"


@dataclass(frozen=True)
class Needle:
    """A piece of something erased.

    Attributes:
        whose: What it was cut from, for messages.
        content: 16 to 64 bytes.
        vector: The piece as the `embeddings` table has it, if it is of an embedding: another tracklet may
            have the same numbers by right.
    """

    whose: str
    content: bytes
    vector: bytes | None = None


def of_vector(whose: str, packed: bytes, expanded: npt.NDArray[np.float32]) -> list[Needle]:
    """Needles of an embedding: as its row has it, and as an index file has it.

    Args:
        packed: (D,) float16 as bytes.
        expanded: (D,) the same as float32, norm 1.
    """
    wide = expanded.astype("<f4").tobytes()
    found = []
    for content, number_bytes in ((packed, 2), (wide, 4)):
        first = _distinctive(content, 0, number_bytes, _SHORTEST)
        if first is not None:
            piece = content[first : first + NEEDLE_BYTES]
            begin, end = (at // number_bytes * 2 for at in (first, first + len(piece)))
            found.append(Needle(whose, piece, packed[begin:end]))
    return found


def of_jpeg(whose: str, jpeg: bytes) -> list[Needle]:
    """A needle from the compressed picture itself: headers and tables are the same in all files."""
    marker = jpeg.rfind(_START_OF_SCAN)
    scan = jpeg[marker + len(_START_OF_SCAN) + 10 :] if marker >= 0 else jpeg
    first = _distinctive(scan, len(scan) // 2, NEEDLE_BYTES // 2, NEEDLE_BYTES)
    if first is None:
        first = _distinctive(scan, 0, NEEDLE_BYTES // 2, NEEDLE_BYTES)
    return [] if first is None else [Needle(whose, scan[first : first + NEEDLE_BYTES])]


def _distinctive(content: bytes, begin: int, step: int, shortest: int) -> int | None:
    """Where, from `begin` on, 64 bytes (or all that there are) lie that nothing else has by chance.

    Flat parts of pictures, and the zeros of sparse embeddings, repeat few values.
    """
    size = min(NEEDLE_BYTES, len(content) - begin)
    if size < shortest:
        return None
    for first in range(begin, len(content) - size + 1, step):
        if len(set(content[first : first + size])) >= size // 4:
            return first
    return None


class Haystack:
    """Looks for all needles at once, in one pass over each file.

    A table of two bytes of each needle rules out nearly every place of a file; eight bytes are looked up at
    the places that are left.
    """

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._by_anchor: dict[bytes, list[tuple[int, Needle]]] = {}
        self._begins = np.zeros(1 << 16, bool)
        for needle in set(needles):
            at = _anchor(needle.content)
            anchor = needle.content[at : at + _ANCHOR_BYTES]
            self._by_anchor.setdefault(anchor, []).append((at, needle))
            self._begins[int.from_bytes(anchor[:2], "little")] = True

    def search(self, file: Path) -> set[Needle]:
        """The needles that lie in a file; none in one that is gone."""
        found: set[Needle] = set()
        if not self._by_anchor:
            return found
        try:
            with file.open("rb") as stream:
                kept = b""
                while block := stream.read(_CHUNK_BYTES):
                    found |= self._within(kept + block)
                    kept = (kept + block)[-(NEEDLE_BYTES - 1) :]
        except FileNotFoundError:
            pass  # removed meanwhile
        return found

    def _within(self, content: bytes) -> set[Needle]:
        found = set()
        for place in self._candidates(content):
            for at, needle in self._by_anchor.get(content[place : place + _ANCHOR_BYTES], ()):
                begin = place - at
                if begin >= 0 and content.startswith(needle.content, begin):
                    found.add(needle)
        return found

    def _candidates(self, content: bytes) -> Iterator[int]:
        for odd in (0, 1):
            pairs = np.frombuffer(content, "<u2", max(0, (len(content) - odd) // 2), odd)
            yield from (np.flatnonzero(self._begins[pairs]) * 2 + odd).tolist()


def _anchor(content: bytes) -> int:
    """Where the eight bytes begin by which a needle is looked up: those with most different values."""
    places = range(len(content) - _ANCHOR_BYTES + 1)
    return max(
        places, key=lambda at: (len(set(content[at : at + _ANCHOR_BYTES])), 0 not in content[at : at + 2])
    )


def search_files(files: Sequence[Path], needles: Iterable[Needle]) -> dict[Path, set[Needle]]:
    """The files that hold needles, and which."""
    haystack = Haystack(needles)
    found = {file: haystack.search(file) for file in files}
    return {file: those for file, those in found.items() if those}


def search_files_apart(files: Sequence[Path], needles: Sequence[Needle]) -> dict[Path, set[Needle]]:
    """As `search_files`, in a process of its own.

    SQLite's locks are POSIX ones: a process that closes a file drops all locks that it has on it. Who read
    an open database's files here would take them away from under SQLite, and another process could then
    delete the log with what was committed to it.

    Raises:
        OSError: The process failed.
    """
    asked = {"files": [str(file) for file in files], "needles": [each.content.hex() for each in needles]}
    done = subprocess.run(
        [sys.executable, "-I", __file__], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"the files cannot be searched: {done.stderr.strip()[-300:]}")
    found: dict[str, list[int]] = json.loads(done.stdout)
    return {Path(file): {needles[number] for number in numbers} for file, numbers in found.items()}


def _answer_parent() -> None:
    asked = json.load(sys.stdin)
    needles = [Needle(str(number), bytes.fromhex(each)) for number, each in enumerate(asked["needles"])]
    found = search_files([Path(file) for file in asked["files"]], needles)
    json.dump({str(file): [int(each.whose) for each in those] for file, those in found.items()}, sys.stdout)


if __name__ == "__main__":
    _answer_parent()
