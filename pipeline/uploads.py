"""Pictures and clips that somebody uploads to ask about: received, unpacked apart, kept for an hour.

The bytes that came in are read by `pipeline.untrusted` only, and deleted at once. What is kept are pictures
that this process encoded itself from plain pixels: no metadata and nothing of the original file.
"""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from pipeline.crops import decode_jpeg
from pipeline.reception import Reception
from pipeline.types import Frame, Image
from pipeline.upload_records import (
    Upload,
    UploadLimits,
    UploadNotFound,
    UploadRefused,
    UploadsBusy,
    too_large,
)

__all__ = ["Upload", "UploadLimits", "UploadNotFound", "UploadRefused", "Uploads", "UploadsBusy"]

_CHUNK_BYTES = 1 << 20
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(eq=False)
class _Coming:
    """An upload that is being received: whose it is, and how many bytes it has written."""

    owner: str
    size: int = 0


@dataclass(frozen=True)
class _Kept:
    """What `upload.json` says: whose it is, and how long each JPEG of `frames.mjpeg` is."""

    owner: str
    sizes: tuple[int, ...]
    upload: Upload


class Uploads:
    """The uploads in one folder. Any number of threads may use one object, and processes one folder.

    Every call names the owner; the uploads of others do not exist for it. How many there are and how large is
    held exactly within one process.
    """

    def __init__(self, folder: Path, limits: UploadLimits | None = None) -> None:
        self.limits = limits or UploadLimits()
        self._folder = folder
        self._turns = threading.BoundedSemaphore(self.limits.children)
        self._lock = threading.Lock()
        self._coming: list[_Coming] = []
        self._used: Counter[str] = Counter()  # bytes kept, by owner, when an upload last began or ended

    def add(self, stream: BinaryIO, claimed_size: int | None, owner: str, now: float | None = None) -> Upload:
        """Receive, unpack and keep one upload.

        Args:
            stream: is read until it ends or brings more than is taken.
            claimed_size: the length that the sender announced, if any; anything else is an upload cut off.
            owner: who may use it.
            now: seconds UTC; by default the clock's.

        Raises:
            UploadRefused: it is nothing that is taken; the message is for the sender.
            UploadsBusy: others are being decoded, or the room for uploads is used up.
        """
        with self.receive(owner, claimed_size, now) as reception:
            while chunk := stream.read(_CHUNK_BYTES):
                reception.write(chunk)
            return reception.finish()

    @contextmanager
    def receive(
        self, owner: str, claimed_size: int | None = None, now: float | None = None
    ) -> Iterator[Reception]:
        """`add` in parts, for bytes that are waited for elsewhere: `write` them, then `finish`."""
        self.sweep(now)
        most = max(self.limits.picture_bytes, self.limits.clip_bytes)
        if claimed_size is not None and claimed_size > most:
            raise too_large(None, self.limits)
        with self._room_for(owner, claimed_size or 0) as take_room:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            private = Path(tempfile.mkdtemp(".part", dir=self._folder))
            try:
                yield Reception(private, owner, claimed_size, self.limits, self._turn, take_room)
            except FileNotFoundError as error:
                if private.exists():
                    raise
                raise UploadsBusy("all uploads were deleted at this moment: upload it again") from error
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise UploadsBusy("the disk is full: try again when there is room") from error
                raise
            finally:
                with suppress(FileNotFoundError):
                    shutil.rmtree(private)

    def get(self, id: str, owner: str, now: float | None = None) -> Upload:
        """One upload.

        Raises:
            UploadNotFound: this owner has none of that id, or it has expired.
        """
        return self._kept(id, owner, now).upload

    def frame(self, id: str, owner: str, at_s: float = 0.0) -> tuple[Image, float]:
        """The (H, W, 3) RGB picture shown at a second, and the second since when it is shown.

        Raises:
            UploadNotFound: as `get`.
            ValueError: `at_s` is not within the clip.
        """
        kept = self._kept(id, owner)
        upload = kept.upload
        if not (math.isfinite(at_s) and 0 <= at_s <= max(upload.duration_s, upload.times[-1])):
            raise ValueError(f"{at_s:g} s is outside the clip, which is {upload.duration_s:.1f} s long")
        position = max(0, bisect_right(upload.times, at_s) - 1)
        shown = next(self._frames(kept, [position]))
        return shown.image, shown.timestamp

    def frames(self, id: str, owner: str, first_s: float = 0.0, last_s: float | None = None) -> list[Frame]:
        """The frames of a span of seconds, both ends included; their time stamps are seconds of the clip.

        Raises:
            UploadNotFound: as `get`.
        """
        kept = self._kept(id, owner)
        end = math.inf if last_s is None else last_s
        wanted = [i for i, time_s in enumerate(kept.upload.times) if first_s <= time_s <= end]
        return list(self._frames(kept, wanted))

    def remove(self, id: str, owner: str) -> None:
        """Delete an upload.

        Raises:
            UploadNotFound: as `get`.
        """
        self._kept(id, owner)
        shutil.rmtree(self._folder / id, ignore_errors=True)

    def clear(self) -> None:
        """Delete all uploads of all owners at once, and whatever is being received or read at this moment."""
        if not self._folder.exists():
            return
        trash = tempfile.TemporaryDirectory(prefix="tmp", dir=self._folder.parent)
        # In one step, so that nothing that is just being finished stays behind.
        with trash as place, suppress(FileNotFoundError):
            self._folder.rename(Path(place) / self._folder.name)

    def sweep(self, now: float | None = None) -> None:
        """Delete what has expired, and what a killed process has left behind."""
        now = time.time() if now is None else now
        for folder in self._folder.glob("*"):
            if self._has_expired(folder, now):
                shutil.rmtree(folder, ignore_errors=True)

    def _has_expired(self, folder: Path, now: float) -> bool:
        try:
            return now - folder.stat().st_mtime > self.limits.expires_s
        except FileNotFoundError:
            return True

    @contextmanager
    def _room_for(self, owner: str, claimed_size: int) -> Iterator[Callable[[int], None]]:
        """Counts what an upload brings in, by what is given; what it was only said to have takes no room."""
        coming = _Coming(owner)
        with self._lock:
            self._check_number(owner)
            self._check_room(owner, claimed_size)
            self._coming.append(coming)

        def take_room(size: int) -> None:
            with self._lock:
                self._check_room(owner, size)
                coming.size += size

        try:
            yield take_room
        finally:
            with self._lock:
                self._coming.remove(coming)
                self._look()

    def _check_number(self, owner: str) -> None:
        number = self._look()[owner] + sum(coming.owner == owner for coming in self._coming)
        if number >= self.limits.per_owner:
            raise UploadRefused(
                f"{self.limits.per_owner} uploads of yours are waiting: remove one, or wait until they expire"
            )

    def _look(self) -> Counter[str]:
        """See what is kept; the number of uploads by owner."""
        numbers: Counter[str] = Counter()
        self._used.clear()
        for folder in self._folder.glob("*"):
            kept = _read(folder) if _ID.fullmatch(folder.name) else None
            if kept is not None:
                numbers[kept.owner] += 1
                self._used[kept.owner] += sum(kept.sizes)
        return numbers

    def _check_room(self, owner: str, size: int) -> None:
        """Whether so many bytes more may be written; it looks at no disk, as it is asked for every chunk."""
        own = sum(coming.size for coming in self._coming if coming.owner == owner)
        if self._used[owner] + own + size > self.limits.owner_bytes:
            raise UploadRefused(
                "your uploads take up the room that one may have: remove one, or wait until they expire"
            )
        if self._used.total() + sum(coming.size for coming in self._coming) + size > self.limits.total_bytes:
            raise UploadsBusy("the room for uploads is used up: try again later")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=self.limits.max_wait_s):
            raise UploadsBusy("other uploads are being read: try again in a moment")
        try:
            yield
        finally:
            self._turns.release()

    def _kept(self, id: str, owner: str, now: float | None = None) -> _Kept:
        folder = self._folder / id
        kept = _read(folder) if _ID.fullmatch(id) else None
        if (
            kept is None
            or kept.owner != owner
            or self._has_expired(folder, time.time() if now is None else now)
        ):
            raise UploadNotFound("there is no such upload, or it has expired: upload it again")
        return kept

    def _frames(self, kept: _Kept, wanted: list[int]) -> Iterator[Frame]:
        starts = [0, *accumulate(kept.sizes)]
        try:
            with (self._folder / kept.upload.id / "frames.mjpeg").open("rb") as file:
                for i in wanted:
                    file.seek(starts[i])
                    image = decode_jpeg(file.read(kept.sizes[i]))
                    assert image is not None, "this process's own JPEG"
                    yield Frame("upload", i, kept.upload.times[i], image)
        except FileNotFoundError as error:
            raise UploadNotFound("the upload has expired: upload it again") from error


def _read(folder: Path) -> _Kept | None:
    try:
        kept = json.loads((folder / "upload.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    upload = kept["upload"] | {"times": tuple(kept["upload"]["times"])}
    return _Kept(kept["owner"], tuple(kept["sizes"]), Upload(**upload))
