"""The crops of each tracklet: a thumbnail (one JPEG) and all crops (JPEGs one after another in one file)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.errors import GalleryDamaged, disk_errors
from storage.records import Int32Array

_PER_FOLDER = 1000
_SUFFIXES = (".jpg", ".mjpeg")


@dataclass(frozen=True)
class StagedCrops:
    """Finished files of a tracklet that has no id yet."""

    thumbnail: Path
    crops: Path


class MediaFolder:
    """`<id // 1000>/<id>.jpg` and `<id>.mjpeg`, named by the tracklet's id, which is never used again.

    A tracklet that is replaced by more of itself gets new files, `<id>.<version>.jpg` and so on; its row says
    which version counts. So old and new files never meet, and whatever process dies, the row has its crops.

    Files are written under a temporary name first, and get their own in the database transaction that makes
    the id or the version, under the gallery's write lock. So whoever holds that lock knows that a named file
    without a row, or of another version than its row's, was left behind by a process that died.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"

    def thumbnail(self, tracklet_id: int, version: int) -> Path:
        """Absolute path of the tracklet's thumbnail."""
        return self._file(tracklet_id, version, ".jpg")

    def read(
        self, tracklet_id: int, version: int, lengths: Int32Array, which: Sequence[int] | None = None
    ) -> list[bytes]:
        """Some or all crops of a tracklet, each read alone.

        Args:
            version: Of its row, as `lengths` are.
            lengths: (K,) size of each crop in bytes.
            which: Numbers of the crops to read, 0-based; None for all.

        Raises:
            GalleryDamaged: The file is missing or too short.
            IndexError: `which` names a crop that does not exist.
        """
        ends = np.cumsum(lengths, dtype=np.int64)
        numbers = range(len(lengths)) if which is None else which
        if any(not 0 <= number < len(lengths) for number in numbers):
            raise IndexError(f"tracklet {tracklet_id} has crops 0 to {len(lengths) - 1}, not {list(numbers)}")
        file = self._file(tracklet_id, version, ".mjpeg")
        crops = []
        try:
            with file.open("rb") as stream:
                for number in numbers:
                    stream.seek(int(ends[number] - lengths[number]))
                    crops.append(stream.read(int(lengths[number])))
        except FileNotFoundError as error:
            raise GalleryDamaged(f"{file} is missing: restore it or delete the tracklet") from error
        if any(len(crop) != lengths[number] for crop, number in zip(crops, numbers, strict=True)):
            raise GalleryDamaged(f"{file} is cut short: restore it or delete the tracklet")
        return crops

    def read_thumbnail(self, tracklet_id: int, version: int) -> bytes:
        """The thumbnail's JPEG file.

        Raises:
            GalleryDamaged: The file is missing.
        """
        file = self.thumbnail(tracklet_id, version)
        try:
            return file.read_bytes()
        except FileNotFoundError as error:
            raise GalleryDamaged(f"{file} is missing: restore it or delete the tracklet") from error

    def stage(self, crops: Sequence[bytes], thumbnail: int) -> StagedCrops:
        """Writes the files of one tracklet under temporary names.

        Raises:
            GalleryFull: The disk is full; nothing is left behind.
        """
        name = uuid.uuid4().hex
        staged = StagedCrops(self._incoming / f"{name}.jpg", self._incoming / f"{name}.mjpeg")
        with disk_errors(self.root.parent):
            try:
                self._incoming.mkdir(exist_ok=True)
                staged.thumbnail.write_bytes(crops[thumbnail])
                staged.crops.write_bytes(b"".join(crops))
            except OSError:
                self.discard(staged)
                raise
        return staged

    def keep(self, staged: StagedCrops, tracklet_id: int, version: int) -> None:
        """Gives staged files their names. Only under the gallery's write lock."""
        with disk_errors(self.root.parent):
            thumbnail = self.thumbnail(tracklet_id, version)
            thumbnail.parent.mkdir(exist_ok=True)
            staged.thumbnail.replace(thumbnail)
            staged.crops.replace(self._file(tracklet_id, version, ".mjpeg"))

    @staticmethod
    def discard(staged: StagedCrops) -> None:
        """Removes staged files that were not kept."""
        with suppress(OSError):  # what cannot be removed now, the sweep removes
            staged.thumbnail.unlink(missing_ok=True)
            staged.crops.unlink(missing_ok=True)

    def remove(self, ids: Iterable[int]) -> None:
        """Removes the files of deleted tracklets, of all versions."""
        for entry in self.files(ids):
            entry.unlink(missing_ok=True)

    def files(self, ids: Iterable[int]) -> list[Path]:
        """The files of tracklets, of all versions, whether or not their rows know them."""
        by_shelf: dict[Path, set[str]] = {}
        for tracklet_id in ids:
            by_shelf.setdefault(self._shelf(tracklet_id), set()).add(str(tracklet_id))
        return [
            entry
            for shelf, names in by_shelf.items()
            for entry in (shelf.iterdir() if shelf.is_dir() else ())
            if entry.name.partition(".")[0] in names
        ]

    def remove_version(self, tracklet_id: int, version: int) -> None:
        """Removes the files of a version that is not its tracklet's."""
        with suppress(OSError):  # what cannot be removed now, the sweep removes
            for suffix in _SUFFIXES:
                self._file(tracklet_id, version, suffix).unlink(missing_ok=True)

    def shelves(self) -> list[range]:
        """The ranges of ids whose folders exist."""
        numbers = sorted(int(entry.name) for entry in self.root.iterdir() if entry.name.isdecimal())
        return [range(number * _PER_FOLDER, (number + 1) * _PER_FOLDER) for number in numbers]

    def remove_orphans(self, shelf: range, versions: Mapping[int, int]) -> int:
        """Removes the files of one folder that belong to no row. Only under the gallery's write lock.

        Args:
            shelf: One of `shelves()`.
            versions: Media version of each tracklet of that range that the database has.

        Returns:
            How many files were removed.
        """
        kept = {self._file(*row, suffix).name for row in versions.items() for suffix in _SUFFIXES}
        orphans = [entry for entry in self._shelf(shelf.start).iterdir() if entry.name not in kept]
        for entry in orphans:
            entry.unlink(missing_ok=True)
        return len(orphans)

    def complete(self, tracklet_id: int, version: int) -> bool:
        """Whether both files of a tracklet are there."""
        return all(self._file(tracklet_id, version, suffix).is_file() for suffix in _SUFFIXES)

    def remove_stale(self, before: float) -> int:
        """Removes staged files last written before the time `before` (seconds UTC); returns how many."""
        removed = 0
        for entry in self._staged():
            with suppress(FileNotFoundError):  # its writer finished meanwhile
                if entry.stat().st_mtime < before:
                    entry.unlink()
                    removed += 1
        return removed

    def _staged(self) -> Iterator[Path]:
        return self._incoming.iterdir() if self._incoming.is_dir() else iter(())

    def _shelf(self, tracklet_id: int) -> Path:
        return self.root / f"{tracklet_id // _PER_FOLDER:06d}"

    def _file(self, tracklet_id: int, version: int, suffix: str) -> Path:
        stem = f"{tracklet_id}.{version}" if version else str(tracklet_id)
        return self._shelf(tracklet_id) / (stem + suffix)
