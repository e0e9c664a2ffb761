"""The watch list and its alerts: whom to look out for, and who was seen."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from storage.records import EmbedderSpec, TrackletRecord, camera_name

AlertStatus = Literal["pending", "delivered", "failed", "none"]

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class NewWatch:
    """A person to look out for.

    Attributes:
        name: For people to read; unique.
        threshold: Cosine in [-1, 1] from which on a tracklet is reported.
        tracklets: Ids of tracklets that show the person.
        crops: JPEG files that show the person.
        cameras: Only these; empty means every camera.
        hours: When to look, as the pipeline writes it; empty means always.
        webhook: http(s) address that is told, without user and password; None only notes the alert.
        secret_env: Name of the environment variable that holds the key which signs messages, never the key.
        enabled: Whether to look at all.
    """

    name: str
    threshold: float
    tracklets: tuple[int, ...] = ()
    crops: tuple[bytes, ...] = ()
    cameras: tuple[str, ...] = ()
    hours: tuple[str, ...] = ()
    webhook: str | None = None
    secret_env: str | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        for name in ("cameras", "hours"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a list of texts, got one text")
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"a watch needs a readable name, got {self.name!a}")
        if not (math.isfinite(self.threshold) and -1.0 <= self.threshold <= 1.0):
            raise ValueError(f"threshold must be a cosine in [-1, 1], got {self.threshold}")
        object.__setattr__(self, "threshold", float(self.threshold))
        object.__setattr__(self, "tracklets", tuple(int(number) for number in self.tracklets))
        object.__setattr__(self, "crops", tuple(self.crops))
        object.__setattr__(self, "cameras", tuple(camera_name(camera) for camera in self.cameras))
        object.__setattr__(self, "hours", tuple(self.hours))
        self._check_examples()
        self._check_delivery()

    def _check_examples(self) -> None:
        if not self.tracklets and not self.crops:
            raise ValueError(f"watch '{self.name}' needs a tracklet or a picture to look out for")
        if any(crop[:2] != b"\xff\xd8" for crop in self.crops):
            raise ValueError("every crop must be a JPEG file")

    def _check_delivery(self) -> None:
        if self.webhook is not None:
            try:
                address = urlsplit(self.webhook)
            except ValueError:
                address = urlsplit("")
            good = address.scheme in ("http", "https") and address.hostname and self.webhook.isprintable()
            if not good:
                raise ValueError(f"the webhook of watch '{self.name}' must be an http(s) address")
            if "@" in address.netloc:  # what is stored is shown
                raise ValueError(
                    f"the webhook of watch '{self.name}' must not hold a password: sign with secret_env"
                )
        if self.secret_env is not None and not _VARIABLE_NAME.fullmatch(self.secret_env):
            raise ValueError("secret_env must be the name of an environment variable, not the key itself")


@dataclass(frozen=True)
class WatchExample:
    """One picture of a watched person: a stored tracklet, or a JPEG file."""

    id: int
    tracklet_id: int | None
    crop: bytes | None


@dataclass(frozen=True)
class Watch:
    """A watch as it is stored; see `NewWatch`.

    Attributes:
        created: Seconds UTC.
        examples: Fewer than were given if tracklets among them were deleted; then perhaps none.
    """

    id: int
    name: str
    threshold: float
    cameras: tuple[str, ...]
    hours: tuple[str, ...]
    webhook: str | None
    secret_env: str | None
    enabled: bool
    created: float
    examples: tuple[WatchExample, ...]


@dataclass(frozen=True)
class AlertCursor:
    """How far the embeddings have been compared with the watch list.

    Attributes:
        spec: What made the embeddings; None in a gallery without any.
    """

    generation_id: int
    seq: int
    spec: EmbedderSpec | None


@dataclass(frozen=True)
class Alert:
    """A tracklet that matched a watch.

    Attributes:
        watch: The watch's name.
        record: The tracklet as it is stored now.
        similarity: Cosine, in [-1, 1].
        created: Seconds UTC.
        status: "none" if the watch had no webhook to deliver to.
        attempts: How often delivery was tried.
        delivered: When it arrived, seconds UTC.
        next_attempt: When to try, seconds UTC; None unless pending.
    """

    id: int
    watch_id: int
    watch: str
    webhook: str | None
    secret_env: str | None
    record: TrackletRecord
    similarity: float
    created: float
    status: AlertStatus
    attempts: int
    delivered: float | None
    next_attempt: float | None
    last_error: str | None
