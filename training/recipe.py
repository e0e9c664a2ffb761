"""The recipe of a run: `configs/train*.yaml`, then `--set key.sub=value`. Unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from models.ste_nvan import Architecture, architecture_of
from pipeline.config import ConfigError, Settings, merge, one_line, parse_override, read_yaml

DEFAULT = Path(__file__).resolve().parent.parent / "configs" / "train.yaml"
# What may change between two starts of one run: it decides when and how fast, never what is computed.
FREE_KEYS = ("workers", "log_every", "save_every", "evaluate_every")
Range = tuple[float, float]


class Augmentation(Settings):
    """What a clip may meet, with one draw for all its frames. Every default leaves pictures as they are."""

    flip_p: float = Field(0, ge=0, le=1, description="mirror left and right")
    shift: float = Field(0, ge=0, le=0.5, description="move by up to this share of each side (pad and crop)")
    zoom: Range = Field((1, 1), description="enlarge by a factor drawn from here; detectors' boxes vary")
    colour_p: float = Field(0, ge=0, le=1, description="draw brightness ... tint at all")
    brightness: Range = Field((1, 1), description="factor of all values")
    contrast: Range = Field((1, 1), description="factor of the distance from the clip's mean")
    gamma: Range = Field((1, 1), description="power of values in [0, 1]")
    tint: float = Field(0, ge=0, lt=1, description="each channel's factor differs from 1 by up to this")
    saturation: Range = Field((1, 1), description="factor of the distance from grey")
    hue: float = Field(0, ge=0, le=0.5, description="turn colours by up to this share of the circle")
    greyscale_p: float = Field(0, ge=0, le=1)
    low_resolution_p: float = Field(0, ge=0, le=1, description="shrink, then enlarge again")
    low_resolution: Range = Field((0.3, 0.9), description="size when shrunk, share of the input's")
    blur_p: float = Field(0, ge=0, le=1)
    blur_sigma_px: Range = Field((0.5, 1.5), description="at 256 pixels height; smaller inputs scale it")
    sharpen_p: float = Field(0, ge=0, le=1, description="unsharp mask")
    sharpen: Range = Field((0.3, 1.5), description="how much of the difference to the blurred is added")
    erase_p: float = Field(0, ge=0, le=1, description="a rectangle of noise covers part of the clip")
    erase_same_p: float = Field(0.5, ge=0, le=1, description="the same rectangle in all frames, else its own")
    erase_area: Range = Field((0.02, 0.3), description="share of the picture")

    @field_validator("*")
    @classmethod
    def _ordered(cls, value: Any) -> Any:
        if isinstance(value, tuple) and not 0 < value[0] <= value[1]:
            raise ValueError(f"a range is [low, high] above 0 with low <= high, not {list(value)}")
        return value


class Losses(Settings):
    """Weights of the losses in the sum; 0 leaves one out."""

    identity: float = Field(1, ge=0, description="cross-entropy of a bias-free classifier after the norm")
    identity_scale: float | None = Field(
        None, gt=0, description="classifier on cosines, times this; null: plain products, as in the paper"
    )
    label_smoothing: float = Field(0, ge=0, lt=1)
    triplet: float = Field(1, ge=0, description="soft-margin batch-hard, before the batch norm")
    contrastive: float = Field(0, ge=0, description="supervised contrastive, after the batch norm")
    contrastive_temperature: float = Field(0.1, gt=0)
    relational: float = Field(0, ge=0, description="similarities within the batch as the teacher's")
    relational_temperature: float = Field(0.1, gt=0, description="of the softmax over a row of cosines")
    relational_smooth_l1: float = Field(0, ge=0, description="plain differences of cosines, beside the above")
    relational_dimension: int = Field(256, ge=1, description="of the relational loss's own projection")
    direct: float = Field(0, ge=0, description="1 - cosine of a linear head's output to the teacher's vector")

    @property
    def need_teacher(self) -> bool:
        """Whether a loss of the sum compares with a teacher."""
        return self.relational > 0 or self.direct > 0


class Schedule(Settings):
    """The learning rate by step; `training.schedule` computes it."""

    kind: Literal["step", "cosine"] = "cosine"
    warmup_steps: int = Field(0, ge=0, description="linear from lr / warmup_steps")
    decay_epochs: int = Field(50, ge=1, description="step: x decay_factor every so many epochs")
    decay_factor: float = Field(0.1, gt=0, lt=1)
    final_scale: float = Field(0.01, ge=0, le=1, description="cosine: share of lr at the end")


class Stage(Settings):
    """A part of the run with its own input size, batch and frozen layers."""

    steps: int | None = Field(None, ge=1, description="either steps or epochs")
    epochs: int | None = Field(None, ge=1, description="an epoch shows every identity once")
    height: int = Field(256, ge=32, multiple_of=16)
    width: int = Field(128, ge=16, multiple_of=16)
    clip_length: int = Field(8, ge=1)
    identities: int = Field(8, ge=2, description="P: identities in a batch")
    tracklets: int = Field(4, ge=1, description="K: clips of each identity in a batch")
    frozen: tuple[str, ...] = Field((), description="prefixes of modules that stay as they are")
    lr_scale: float = Field(1, gt=0)

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("a stage takes one of steps and epochs")
        return self


class Recipe(Settings):
    """All that decides the weights of a run, besides the crops and the initial weights."""

    variant: str = "ste_nvan"
    architecture: dict[str, Any] = Field({}, description="arguments over the variant's; for tests")
    seed: int = Field(0, ge=0)
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(3e-4, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    decay_norms: bool = Field(False, description="weight decay of batch norms and biases as well")
    clip_gradient: float | None = Field(None, gt=0, description="largest norm of the whole gradient")
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    deterministic: bool = Field(False, description="a GPU's reproducible kernels instead of its fastest")
    average_decay: float = Field(0, ge=0, lt=1, description="of the moving average of weights; 0: none")
    across_cameras: bool = Field(True, description="an identity's K clips from K cameras where possible")
    schedule: Schedule = Schedule()
    losses: Losses = Losses()
    augmentation: Augmentation = Augmentation()
    stages: tuple[Stage, ...] = Field(min_length=1)
    workers: int | None = Field(None, ge=0, description="loading processes; null: one less than cores")
    log_every: int = Field(10, ge=1, description="steps; a line holds the means since the line before")
    save_every: int = Field(500, ge=1, description="steps between checkpoints")
    evaluate_every: int = Field(2000, ge=1, description="steps between evaluations")

    @model_validator(mode="after")
    def _fits_the_network(self) -> Self:
        for stage in self.stages:
            multiple = self.at(stage.height).frame_multiple
            if stage.clip_length % multiple:
                raise ValueError(
                    f"clip_length {stage.clip_length} must be a multiple of {multiple} for {self.variant}"
                )
        return self

    def network(self) -> Architecture:
        """The architecture that is trained, for the paper's input of 256 pixels."""
        values = architecture_of(self.variant).to_json() | self.architecture
        return Architecture.from_json(values)

    def at(self, height: int) -> Architecture:
        """The network for inputs of a stage's height; the weights are the same."""
        return self.network().at(height)


def load_recipe(
    path: Path | None = None, overrides: Sequence[str] = (), variant: str | None = None
) -> Recipe:
    """Read a recipe, then apply overrides.

    Args:
        path: A YAML file, `configs/train.yaml` if None; `extends: FILE` lays it over another beside it.
        overrides: `key.sub=value` with YAML values; `stages.0.steps=100` reaches into the list of stages.
        variant: Replaces the recipe's.

    Raises:
        ConfigError: The file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    values = _read(path or DEFAULT)
    if variant is not None:
        values["variant"] = variant
    for override in overrides:
        change = parse_override(override)
        if "stages" in change:
            change["stages"] = _changed(values.get("stages"), change["stages"])
        values = merge(values, change)
    return parse_recipe(values)


def _read(path: Path) -> dict[str, Any]:
    """A recipe's file over the one beside it that it extends, if any."""
    values = read_yaml(path)
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str) or not (path.parent / base).is_file() or path.parent / base == path:
        raise ConfigError(f"{path}: extends must name another file beside it, not {base!r}")
    return merge(_read(path.parent / base), values)


def parse_recipe(values: dict[str, Any]) -> Recipe:
    """A recipe from plain values, as of a checkpoint; ConfigError in one line."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ConfigError(one_line(error)) from error


def changed_keys(old: Recipe, new: Recipe) -> list[str]:
    """Dotted names of what differs between two recipes, but for `FREE_KEYS`."""
    before, after = (_flat(recipe.model_dump(exclude=set(FREE_KEYS))) for recipe in (old, new))
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _changed(stages: Any, change: Any) -> Any:
    """A list of stages with `{"0": {...}}` merged into it; a list replaces it."""
    if not isinstance(change, dict):
        return change
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ConfigError("--set stages.N: the recipe's stages are no list of stages")
    changed = list(stages)
    for index, value in change.items():
        if not index.isdigit() or int(index) >= len(changed):
            raise ConfigError(f"--set stages.{index}: the recipe has stages 0 to {len(changed) - 1}")
        changed[int(index)] = merge(changed[int(index)], value)
    return changed


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, tuple | list) and value and isinstance(value[0], dict):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        name: leaf
        for key, item in value.items()
        for name, leaf in _flat(item, f"{prefix}.{key}" if prefix else key).items()
    }
