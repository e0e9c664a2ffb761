"""How long things are kept, and what of them is due to leave."""

from __future__ import annotations

import math
from dataclasses import dataclass

from storage.records import camera_name

DEFAULT_CAMERA = ""
"""The rule of this name is for every camera that has none of its own."""

_DAY_S = 86_400.0


@dataclass(frozen=True)
class Limits:
    """Times (seconds UTC): of tracklets that ended before, that part leaves. None: it stays."""

    crops: float | None
    embeddings: float | None
    metadata: float | None

    @property
    def pictures(self) -> float | None:
        """The time before which no picture is kept, of tracklets or whole frames."""
        given = [limit for limit in (self.crops, self.metadata) if limit is not None]
        return max(given, default=None)


@dataclass(frozen=True)
class Rule:
    """How many days a camera's tracklets keep their parts, counted from their end; None: for ever.

    Attributes:
        camera: Whose; "" for every camera without a rule of its own, which replaces this one as a whole.
        crops_days: Then crops and thumbnail are deleted, and the camera's last frame.
        embeddings_days: Then those of every model are deleted: searches do not find the tracklet any more.
        metadata_days: Then the tracklet is deleted with all that hangs on it, its other parts included.
    """

    camera: str = DEFAULT_CAMERA
    crops_days: float | None = None
    embeddings_days: float | None = None
    metadata_days: float | None = None

    def __post_init__(self) -> None:
        if self.camera != DEFAULT_CAMERA:
            object.__setattr__(self, "camera", camera_name(self.camera))
        for name in ("crops_days", "embeddings_days", "metadata_days"):
            days = getattr(self, name)
            if days is None:
                continue
            if not (math.isfinite(days) and days > 0):
                raise ValueError(f"{name} must be a number of days above 0, or none for ever, got {days}")
            object.__setattr__(self, name, float(days))

    def limits(self, now: float) -> Limits:
        """What the rule means at the time `now`, seconds UTC."""
        days = (self.crops_days, self.embeddings_days, self.metadata_days)
        return Limits(*(None if each is None else now - each * _DAY_S for each in days))


@dataclass(frozen=True)
class Due:
    """What of one camera leaves, or has left, by its rule.

    Attributes:
        crops: Tracklets that lose their pictures and stay.
        embeddings: Tracklets that lose their embeddings and stay.
        tracklets: Tracklets that leave as a whole.
        held: Tracklets that would lose something if no case held them.
    """

    camera: str
    crops: int
    embeddings: int
    tracklets: int
    held: int
