"""Typed configuration of a run: `configs/*.yaml`, then `--set key.sub=value`. Unknown keys are errors."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline import plugins
from pipeline.live.redaction import redact
from pipeline.plugins import PluginSettings

DEFAULT = Path(__file__).resolve().parent.parent / "configs" / "default.yaml"


class ConfigError(ValueError):
    """The configuration is wrong; one line that names the key."""


class Settings(BaseModel):
    """Base of every settings block: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VideoSettings(Settings):
    """How sources are read."""

    analysis_fps: float | None = Field(
        10.0, gt=0, description="frames a second to analyse; fewer is faster, null takes every frame"
    )
    image_fps: float = Field(10.0, gt=0, description="frames a second that a folder of images stands for")
    queue_frames: int = Field(16, ge=1, description="decoded frames waiting per source; bounds memory")
    open_sources: int = Field(4, ge=1, description="sources decoded at the same time; the others wait")


class TrackletSettings(Settings):
    """When a track becomes a tracklet, and what of it is kept."""

    min_frames: int = Field(8, ge=1, description="shorter tracks are rejected (too_short)")
    min_height_px: float = Field(32, ge=0, description="median box height below this: too_small")
    min_confidence: float = Field(0.35, ge=0, le=1, description="mean confidence below this: low_confidence")
    max_gap_s: float = Field(2.0, gt=0, description="a track unseen for longer is cut into two tracklets")
    max_duration_s: float = Field(
        120.0, gt=0, description="a longer track is cut, so that it can be found early"
    )
    num_crops: int = Field(16, ge=1, le=16, description="pictures kept, evenly spread over the tracklet")
    max_crop_height_px: int = Field(384, ge=64, description="larger crops are shrunk to this height")
    jpeg_quality: int = Field(92, ge=30, le=100)


class StitchSettings(Settings):
    """When a track continues an earlier one of the same camera."""

    enabled: bool = Field(True, description="join broken tracks of the same person")
    max_gap_s: float = Field(8.0, gt=0, description="longest time between the two")
    slack: float = Field(0.75, ge=0, description="body heights that they may be apart, or off the way")
    max_speed: float = Field(0.1, ge=0, description="body heights a second by which that grows with the gap")
    max_size_ratio: float = Field(1.5, ge=1, description="of the heights of the two boxes where they meet")
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="of the two tracks' embeddings; null: what is known of the embedder"
    )
    margin: float = Field(
        0.05, ge=0, le=2, description="by which the two are more alike than either is to anybody else"
    )


class BatchSettings(Settings):
    """Sizes of the batches; they bound memory, too."""

    frames: int = Field(8, ge=1, description="frames of all cameras that go through the detector together")
    clips: int = Field(16, ge=1, description="clips of all cameras that go through the embedder together")
    max_wait_s: float = Field(
        1.0, gt=0, description="a finished tracklet waits no longer than this for company"
    )


class StorageSettings(Settings):
    """Where the gallery's tables are."""

    database_url: str | None = Field(
        None, description="SQLAlchemy URL; null: SQLite inside the gallery folder"
    )


class Config(Settings):
    """All settings of a run."""

    video: VideoSettings = VideoSettings()
    detector: PluginSettings
    tracker: PluginSettings
    tracklets: TrackletSettings = TrackletSettings()
    stitch: StitchSettings = StitchSettings()
    embedder: PluginSettings
    batch: BatchSettings = BatchSettings()
    storage: StorageSettings = StorageSettings()

    def replace(self, **blocks: Any) -> Self:
        """A copy with whole blocks exchanged."""
        return self.model_copy(update=blocks)


def load_config(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    embedder: PluginSettings | None = None,
    kind: type[Config] | None = None,
) -> Config:
    """Read a YAML file over the defaults, then apply `key.sub=value` overrides.

    Args:
        path: a YAML file; its keys replace the defaults, a plug-in block of another name as a whole.
        embedder: replaces the embedder of the files; the overrides come after it.
        overrides: values are YAML (`tracker.name=bytetrack`, `video.analysis_fps=null`).
        kind: a `Config` with more keys.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    values = read_yaml(DEFAULT)
    if path is not None:
        values = merge(values, read_yaml(path))
    if embedder is not None:
        values = merge(values, {"embedder": embedder.model_dump()})
    for override in overrides:
        values = merge(values, parse_override(override))
    try:
        config = (kind or Config).model_validate(values)
    except ValidationError as error:
        raise ConfigError(one_line(error)) from None  # the original repeats values, passwords too
    check_plugins(config)
    return config


def check_plugins(config: Config) -> None:
    """Check the settings of the three plug-ins against their own `Config`."""
    blocks: tuple[tuple[plugins.Kind, str, PluginSettings], ...] = (
        ("detectors", "detector", config.detector),
        ("trackers", "tracker", config.tracker),
        ("embedders", "embedder", config.embedder),
    )
    for kind, block, settings in blocks:
        try:
            plugins.parse(kind, settings)
        except ValidationError as error:
            raise ConfigError(one_line(error, prefix=block)) from None


def settings_hash(*parts: Any) -> str:
    """16 hex digits that change when any of the JSON-able parts does."""
    text = json.dumps([_plain(part) for part in parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    return part.model_dump() if isinstance(part, BaseModel) else part


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file; ConfigError where it is none."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not YAML: byte {error.start} is not UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {_yaml_problem(error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, it holds a {type(values).__name__}")
    return values


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, without words of the file itself: there may be a password among them."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "a character that may not be there"
    mark = error.problem_mark
    problem = re.sub(r"'[^']{2,}'", "...", error.problem or "")
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})"


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change` over it; where a plug-in's name changes, its old options go."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        renamed = (
            isinstance(value, dict)
            and "name" in value
            and isinstance(old, dict)
            and value["name"] != old.get("name")
        )
        merged[key] = (
            merge(old, value) if isinstance(old, dict) and isinstance(value, dict) and not renamed else value
        )
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """`key.sub=value` as a nested mapping; the value is YAML."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set takes key.sub=value, got '{text}'")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: the value is not YAML: {_yaml_problem(error)}") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    assert isinstance(nested, dict)
    return nested


def one_line(error: ValidationError, prefix: str = "") -> str:
    """All that is wrong with a configuration, in one line."""
    problems = []
    for problem in error.errors():
        where = ".".join(redact(str(part)) for part in ([prefix] if prefix else []) + list(problem["loc"]))
        text = problem["msg"].removeprefix("Value error, ")
        what = "unknown key" if problem["type"] == "extra_forbidden" else text
        problems.append(f"{where}: {what}" if where else what)
    return "configuration: " + "; ".join(problems)
