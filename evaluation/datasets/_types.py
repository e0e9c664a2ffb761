"""What every data set is read into: tracklets of labelled people in numbered cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


class DatasetError(ValueError):
    """A folder is not laid out as the data set is published; names the file and where it comes from."""


@dataclass(frozen=True)
class LabelledTracklet:
    """One person in one camera, as crops.

    Attributes:
        pid: person number from 1; 0 is a distractor, never a right answer; -1 is junk and not ranked.
        camid: camera number, as the data set counts.
        frames: files of the crops in the order of time, at least one.
    """

    pid: int
    camid: int
    frames: tuple[Path, ...]

    def __post_init__(self) -> None:
        if self.pid < -1:
            raise ValueError(f"pid must be at least -1, got {self.pid}")
        if not self.frames:
            raise ValueError(f"a tracklet of person {self.pid} in camera {self.camid} has no frames")


@dataclass(frozen=True)
class ReidDataset:
    """The parts of a data set under one protocol.

    Attributes:
        name: what `load` was asked for.
        train: tracklets to learn from; their people are not in the other two.
        query: tracklets that are searched for.
        gallery: what they are searched in. May hold the queries, which are junk to themselves.
        notes: where the numbers differ from the published ones, a sentence each.
    """

    name: str
    train: tuple[LabelledTracklet, ...]
    query: tuple[LabelledTracklet, ...]
    gallery: tuple[LabelledTracklet, ...]
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, dict[str, int]]:
        """Per part its identities (from 1), tracklets, cameras and frames."""
        return {part: _counts(tracklets) for part, tracklets in self._parts().items()}

    def compared_with(self, published: Mapping[str, int]) -> ReidDataset:
        """A copy that notes where a part has not as many tracklets as published: copies may be partial."""
        parts = self._parts()
        notes = tuple(
            f"{self.name}: {part} has {len(parts[part])} tracklets, published are {count}"
            for part, count in published.items()
            if len(parts[part]) != count
        )
        return replace(self, notes=self.notes + notes)

    def _parts(self) -> dict[str, tuple[LabelledTracklet, ...]]:
        return {"train": self.train, "query": self.query, "gallery": self.gallery}


def _counts(tracklets: Sequence[LabelledTracklet]) -> dict[str, int]:
    return {
        "identities": len({t.pid for t in tracklets if t.pid > 0}),
        "tracklets": len(tracklets),
        "cameras": len({t.camid for t in tracklets}),
        "frames": sum(len(t.frames) for t in tracklets),
    }
