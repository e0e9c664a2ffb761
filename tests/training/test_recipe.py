"""Recipes from YAML: overrides, unknown keys, the files we ship, and what a resumed run may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.ste_nvan import VARIANTS
from pipeline.config import ConfigError
from training.recipe import Augmentation, Losses, changed_keys, load_recipe, parse_recipe

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_overrides_reach_into_blocks_and_stages() -> None:
    recipe = load_recipe(overrides=["lr=0.5", "losses.triplet=0", "stages.1.steps=7"], variant="nvan")
    assert (recipe.lr, recipe.losses.triplet, recipe.stages[1].steps) == (0.5, 0, 7)
    assert recipe.stages[0].steps == load_recipe().stages[0].steps
    assert recipe.variant == "nvan"
    one = load_recipe(overrides=["stages=[{epochs: 3, clip_length: 4}]"])
    assert [(stage.epochs, stage.clip_length) for stage in one.stages] == [(3, 4)]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learning_rate=1", "learning_rate: unknown key"),
        ("losses.tripled=1", "losses.tripled: unknown key"),
        ("stages=3", "stages"),
        ("stages.9.steps=1", "the recipe has stages 0 to 1"),
        ("stages.0.height=100", "stages.0.height"),
        ("stages.0.epochs=3", "one of steps and epochs"),
        ("stages.0.clip_length=6", "clip_length 6 must be a multiple of 4 for ste_nvan"),
        ("variant=resnet", "unknown model variant 'resnet'"),
        ("architecture.wide=4", "unknown architecture argument wide"),
        ("precision=float16", "precision"),
        ("lr=-1", "lr"),
    ],
)
def test_what_does_not_fit_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(overrides=[override])


def test_stripes_follow_the_height_and_other_variants_have_none() -> None:
    recipe = load_recipe()
    assert recipe.at(256) == recipe.network() == VARIANTS["ste_nvan"]
    assert recipe.at(128).stripes == 8
    assert load_recipe(variant="resnet50_fpl").at(128) == VARIANTS["resnet50_fpl"]


def test_the_paper_s_recipe() -> None:
    recipe = load_recipe(CONFIGS / "train_paper.yaml")
    assert recipe.network() == VARIANTS["ste_nvan"]
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adam", 1e-4, 5e-5)
    assert (recipe.precision, recipe.average_decay, recipe.decay_norms) == ("float32", 0, True)
    assert recipe.losses == Losses(identity=1, triplet=1, label_smoothing=0, relational=0, direct=0)
    assert recipe.augmentation == Augmentation(flip_p=0.5)
    (stage,) = recipe.stages
    assert (stage.epochs, stage.identities, stage.tracklets, stage.clip_length) == (200, 8, 4, 8)
    assert (stage.height, stage.width, stage.frozen) == (256, 128, ())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert parse_recipe(recipe.model_dump(mode="json")) == recipe


def test_a_recipe_extends_the_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("lr: 0.5\nlosses: {triplet: 0, identity: 2}\nstages: [{steps: 1}]\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nlosses: {identity: 3}\n")
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert (recipe.lr, recipe.losses.triplet, recipe.losses.identity) == (0.5, 0, 3)
    (tmp_path / "mine.yaml").write_text("extends: other.yaml\n")
    with pytest.raises(ConfigError, match=r"extends must name another file beside it, not 'other.yaml'"):
        load_recipe(tmp_path / "mine.yaml")
    (tmp_path / "base.yaml").write_text("stages: 3\n")
    with pytest.raises(ConfigError, match="no list of stages"):
        load_recipe(tmp_path / "base.yaml", ["stages.0.steps=2"])


def test_with_a_teacher_only_the_losses_differ() -> None:
    ours, distilled = load_recipe(), load_recipe(CONFIGS / "train_distilled.yaml")
    assert not ours.losses.need_teacher
    assert distilled.losses.need_teacher
    assert all(key.startswith("losses.") for key in changed_keys(ours, distilled))


def test_changed_keys_are_named_but_for_those_that_only_say_when() -> None:
    one = load_recipe()
    free = load_recipe(overrides=["workers=3", "log_every=7", "save_every=9", "evaluate_every=11"])
    assert changed_keys(one, free) == []
    other = load_recipe(overrides=["lr=1", "augmentation.hue=0.1", "stages.1.lr_scale=3"])
    assert changed_keys(one, other) == ["augmentation.hue", "lr", "stages.1.lr_scale"]
