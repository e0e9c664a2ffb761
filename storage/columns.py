"""What filters look at, kept in memory beside the index: a filter costs no SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from storage.records import GalleryFilter
from storage.vector_index import IdArray, places

_ROW = np.dtype([("id", "i8"), ("camera", "i4"), ("start", "f8"), ("end", "f8"), ("quality", "f8")])
_FIRST_CAPACITY = 1024

Rows = npt.NDArray[np.void]
BoolArray = npt.NDArray[np.bool_]


class FilterColumns:
    """Id, camera, time and quality of each indexed tracklet. Locked by its owner, as `VectorIndex`."""

    def __init__(self) -> None:
        self._rows = np.zeros(_FIRST_CAPACITY, _ROW)
        self._length = 0
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return self._length

    @property
    def ids(self) -> IdArray:
        """(N,) int64, a copy."""
        return self._rows["id"][: self._length].copy()

    def rows(
        self,
        ids: Sequence[int],
        cameras: Sequence[str],
        starts: Sequence[float],
        ends: Sequence[float],
        qualities: Sequence[float],
    ) -> Rows:
        """N tracklets as `append` and `replace` take them."""
        rows = np.zeros(len(ids), _ROW)
        codes = [self._codes.setdefault(camera, len(self._codes)) for camera in cameras]
        for name, values in zip(_ROW.names or (), (ids, codes, starts, ends, qualities), strict=True):
            rows[name] = values
        return rows

    def append(self, rows: Rows) -> None:
        """Adds tracklets that are not there."""
        length = self._length + len(rows)
        if length > len(self._rows):  # doubling: appending stays linear
            larger = np.zeros(max(length, 2 * len(self._rows)), _ROW)
            larger[: self._length] = self._rows[: self._length]
            self._rows = larger
        self._rows[self._length : length] = rows
        self._length = length

    def replace(self, rows: Rows) -> None:
        """Exchanges what is known of tracklets that are there."""
        if len(rows):
            known = self._rows[: self._length]
            known[places(known["id"], rows["id"])] = rows

    def known(self, ids: IdArray) -> BoolArray:
        """(N,) which of the ids (N,) are there."""
        return np.isin(ids, self._rows["id"][: self._length])

    def remove(self, ids: IdArray) -> None:
        """Removes tracklets; ids that are not there are ignored."""
        if len(ids):
            kept = self._rows[: self._length]
            kept = kept[~np.isin(kept["id"], ids)]
            self._rows = kept if len(kept) else np.zeros(_FIRST_CAPACITY, _ROW)
            self._length = len(kept)

    def matching(self, filter: GalleryFilter) -> IdArray | None:
        """Ids (N,) that pass the filter; None if it lets everything pass."""
        if filter == GalleryFilter():
            return None
        rows = self._rows[: self._length]
        keep = rows["quality"] >= filter.min_quality
        if filter.cameras:
            keep &= self._of(rows, filter.cameras)
        if filter.exclude_cameras:
            keep &= ~self._of(rows, filter.exclude_cameras)
        if filter.start is not None:
            keep &= rows["end"] >= filter.start
        if filter.end is not None:
            keep &= rows["start"] <= filter.end
        if filter.exclude_span is not None:
            camera, start, end = filter.exclude_span
            keep &= ~(self._of(rows, [camera]) & (rows["end"] >= start) & (rows["start"] <= end))
        return np.asarray(rows["id"][keep], np.int64)

    def num_of(self, cameras: Iterable[str]) -> int:
        """How many tracklets there are of these cameras."""
        return int(np.count_nonzero(self._of(self._rows[: self._length], cameras)))

    def _of(self, rows: Rows, cameras: Iterable[str]) -> BoolArray:
        wanted = [self._codes[camera] for camera in cameras if camera in self._codes]
        return np.isin(rows["camera"], wanted)
