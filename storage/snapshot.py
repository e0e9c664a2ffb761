"""Index snapshots on disk: they spare a start the reading of every embedding, and are never needed."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from storage.folder import GalleryFolder
from storage.vector_index import VectorIndex

_FORMAT = 1
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class SnapshotMark:
    """What a snapshot was made from.

    Attributes:
        gallery: The gallery's uuid.
        generation: Whose embeddings it holds.
        last_seq: Number of the last embedding row in it.
        revision: The gallery's revision at that time.
        count: Number of vectors.
        crc32: Of the index file.
    """

    gallery: str
    generation: int
    dimension: int
    last_seq: int
    revision: int
    count: int
    crc32: int = 0
    format: int = _FORMAT


class SnapshotFolder:
    """The folder that keeps at most one snapshot: `<uuid>-<generation>.faiss`, and `.json` beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, index: VectorIndex, mark: SnapshotMark) -> None:
        """Replaces the snapshot. Both files appear whole; if a reader meets a mix of two, the checksum tells.

        Raises:
            OSError: It cannot be written.
        """
        self.folder.mkdir(exist_ok=True)
        final = self._file(mark.gallery, mark.generation)
        temporary = GalleryFolder.temporary(final)
        description = GalleryFolder.temporary(final.with_suffix(".json"))
        try:
            index.write(temporary)
            complete = replace(mark, crc32=_checksum(temporary))
            description.write_text(json.dumps(asdict(complete), indent=2) + "\n", "utf-8")
            temporary.replace(final)
            description.replace(final.with_suffix(".json"))
        finally:
            temporary.unlink(missing_ok=True)
            description.unlink(missing_ok=True)
        self.remove(keep=final.stem)

    def exists(self, gallery: str, generation: int) -> bool:
        """Whether there is a snapshot of that generation, whatever its worth."""
        return self._file(gallery, generation).exists()

    def load(self, gallery: str, generation: int, dimension: int) -> tuple[VectorIndex, SnapshotMark] | None:
        """The snapshot of a generation; None if there is none, or anything about it is wrong."""
        file = self._file(gallery, generation)
        mark = _read_mark(file.with_suffix(".json"))
        expected = (gallery, generation, dimension)
        if mark is None or (mark.gallery, mark.generation, mark.dimension) != expected:
            return None
        try:
            if _checksum(file) != mark.crc32:
                return None
            index = VectorIndex.read(file, dimension)
        except (OSError, ValueError):
            return None
        return (index, mark) if len(index) == mark.count else None

    def remove(self, keep: str | None = None) -> None:
        """Removes every snapshot except those files whose stem is `keep`."""
        for pattern in ("*.faiss", "*.json"):
            for file in self.folder.glob(pattern):
                if file.stem != keep and not file.name.startswith("."):
                    file.unlink(missing_ok=True)

    def remove_stale(self, before: float) -> int:
        """Removes half-written files last touched before `before` (seconds UTC); returns how many."""
        removed = 0
        for file in self.folder.glob(".*"):
            with suppress(FileNotFoundError):  # its writer finished meanwhile
                if file.stat().st_mtime < before:
                    file.unlink()
                    removed += 1
        return removed

    def remove_outdated(self, revision: int) -> None:
        """Removes snapshots of another revision: they may hold vectors that were deleted since."""
        for file in self.folder.glob("*.json"):
            mark = _read_mark(file)
            if not file.name.startswith(".") and (mark is None or mark.revision != revision):
                file.with_suffix(".faiss").unlink(missing_ok=True)
                file.unlink(missing_ok=True)

    def outdated(self, revision: int) -> list[Path]:
        """Snapshots of an earlier revision, or of none that can be told: they may hold deleted vectors."""
        found = []
        for file in self.folder.glob("*.faiss"):
            mark = _read_mark(file.with_suffix(".json"))
            if not file.name.startswith(".") and (mark is None or mark.revision < revision):
                found.append(file)
        return found

    def _file(self, gallery: str, generation: int) -> Path:
        return self.folder / f"{gallery}-{generation}.faiss"


def _read_mark(file: Path) -> SnapshotMark | None:
    try:
        mark = SnapshotMark(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return mark if mark.format == _FORMAT else None


def _checksum(file: Path) -> int:
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            crc = zlib.crc32(block, crc)
    return crc
