"""What `run --config cameras.yaml` takes: the cameras beside the settings of every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath, field_validator, model_validator

from pipeline.config import Config, Settings, load_config
from pipeline.live.hours import Hours, named_zone
from storage.records import camera_name

Share = Annotated[float, Field(ge=0, le=1)]
Polygon = Annotated[list[tuple[Share, Share]], Field(min_length=3)]
"""Corners as shares of the picture's width and height, so that a change of resolution moves nothing."""


class CameraSettings(Settings):
    """One camera: where it is and what of it is looked at."""

    name: str = Field(description="what results call it")
    uri: str = Field(
        description="rtsp://, http(s):// (MJPEG, HLS), a webcam's number, a file, folder or glob; "
        "${NAME} stands for an environment variable, so that no password lies in this file"
    )
    transport: Literal["tcp", "udp"] = Field("tcp", description="of RTSP")
    tls_verify: bool = Field(
        True, description="of rtsps and https: refuse certificates that nobody vouches for"
    )
    ca_file: FilePath | None = Field(
        None, description="who may vouch, in PEM, such as the camera's own certificate; null: the system's"
    )
    start: datetime | None = Field(None, description="of a recording: time of its first frame")
    analysis_fps: float | None = Field(
        None, gt=0, description="frames a second to analyse; null: `video.analysis_fps`"
    )
    region: Polygon | None = Field(
        None, description="only people whose feet are inside are tracked; null: the whole picture"
    )
    masks: list[Polygon] = Field([], description="blacked out before anything sees or keeps the picture")
    hours: list[str] = Field(
        [], description="when it is analysed, such as 'mon-fri 07:00-19:00'; none: always"
    )

    @field_validator("uri", mode="before")
    @classmethod
    def _number_of_a_webcam(cls, uri: object) -> object:
        """YAML reads a bare 0 as a number."""
        return str(uri) if type(uri) is int and uri >= 0 else uri

    @field_validator("name")
    @classmethod
    def _keepable(cls, name: str) -> str:
        return camera_name(name)

    @model_validator(mode="after")
    def _fits_recordings(self) -> CameraSettings:
        if self.start is not None and self.hours:
            raise ValueError("`start` is of recordings, and `hours` of live cameras")
        return self

    @model_validator(mode="after")
    def _trusts_one_way(self) -> CameraSettings:
        if self.ca_file is not None and not self.tls_verify:
            raise ValueError("`ca_file` says whom to trust, and `tls_verify: false` is to trust everybody")
        return self

    @field_validator("start")
    @classmethod
    def _in_utc(cls, start: datetime | None) -> datetime | None:
        return start if start is None or start.tzinfo else start.replace(tzinfo=UTC)

    @field_validator("hours")
    @classmethod
    def _readable(cls, hours: list[str]) -> list[str]:
        Hours.parse(hours, "UTC")
        return hours


class LiveSettings(Settings):
    """How live streams are read, and what happens when they break or the machine cannot keep up."""

    open_timeout_s: float = Field(
        10.0, gt=0, description="a stream that does not open in time is tried again"
    )
    read_timeout_s: float = Field(10.0, gt=0, description="a stream that stalls for longer is opened anew")
    backoff_s: float = Field(0.5, gt=0, description="wait after the first failure; doubles each time")
    backoff_max_s: float = Field(30.0, gt=0, description="longest wait between two tries")
    gap_s: float = Field(
        5.0, gt=0, description="a longer time without pictures, or paused, is recorded as a gap"
    )
    idle_fps: float = Field(
        0.5, gt=0, description="frames a second of a scene where nothing moves and nobody is seen"
    )
    motion_gate: bool = Field(True, description="analyse still scenes at `idle_fps` only")
    stop_s: float = Field(5.0, gt=0, le=5, description="time for finishing what is in hand when told to stop")
    threads_per_stream: int = Field(1, ge=0, description="decoding threads of one stream; 0: FFmpeg decides")
    timezone: str = Field("UTC", description="of `hours`, such as Europe/Berlin")

    @field_validator("timezone")
    @classmethod
    def _known(cls, timezone: str) -> str:
        named_zone(timezone)
        return timezone


class RetentionSettings(Settings):
    """What leaves the gallery by itself."""

    max_days: float | None = Field(None, gt=0, description="older tracklets are deleted; null: none are")
    min_free_mb: int = Field(1024, ge=0, description="ingest pauses while the disk has less room than this")
    when_full: Literal["pause", "delete_oldest"] = Field(
        "pause", description="delete_oldest makes room instead of waiting for it"
    )


class RunConfig(Config):
    """All settings of `run`."""

    cameras: list[CameraSettings] = Field(min_length=1)
    live: LiveSettings = LiveSettings()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _each_once(self) -> RunConfig:
        twice = [name for name, count in Counter(camera.name for camera in self.cameras).items() if count > 1]
        if twice:
            raise ValueError(f"camera '{twice[0]}' is given more than once")
        return self


def load_run_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML of cameras; it may hold every key of `configs/default.yaml`, too.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    config = load_config(path, overrides, kind=RunConfig)
    assert isinstance(config, RunConfig)
    return config
