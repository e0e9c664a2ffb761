"""A run of 8 steps over two stages: stopped and resumed it computes the same bits."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
import torch

from models.checkpoint import load_model, read_metadata
from pipeline.hooks import Hooks
from training.checkpoints import load_state
from training.clips import TrainingSet
from training.distil import Teacher
from training.recipe import Recipe
from training.step import Run, enter_stage
from training.train import Job, _begun, train


class StopAt(Hooks):
    """Asks for a stop as soon as a step is done."""

    def __init__(self, step: int, number: int) -> None:
        self._step, self._number = step, number

    def on_step(self, what: str, done: int, total: int | None) -> None:
        if (what, done) == ("training", self._step - 1):
            os.kill(os.getpid(), self._number)


@pytest.fixture
def job(recipe: Recipe, training_set: TrainingSet, tmp_path: Path) -> Job:
    return Job(recipe, training_set, tmp_path / "straight", tensorboard=False)


def state_of(job: Job) -> dict[str, Any]:
    state = load_state(job.output)
    assert state is not None
    return state


def assert_same(one: Any, other: Any, where: str = "") -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}.{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def log_of(job: Job) -> list[dict[str, str]]:
    """The log without what a clock says."""
    with (job.output / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("seconds", "crops_per_s")} for row in rows]


@pytest.mark.parametrize(
    ("precision", "number", "stop"),
    [
        ("float32", signal.SIGINT, 3),
        ("bfloat16", signal.SIGTERM, 3),
        ("bfloat16", signal.SIGINT, 4),  # between the stages
        ("float32", signal.SIGTERM, 7),  # in the second one
    ],
)
def test_stopped_and_resumed_is_bit_identical(job: Job, precision: str, number: int, stop: int) -> None:
    job = replace(job, recipe=job.recipe.model_copy(update={"precision": precision}))
    train(job, Hooks())
    stopped = replace(job, output=job.output.with_name("stopped"))
    with pytest.raises(KeyboardInterrupt):
        train(stopped, StopAt(stop, number))
    assert state_of(stopped)["counts"][0] == stop
    outcome = train(stopped, Hooks())
    assert outcome.step == outcome.num_steps == 8
    one, other = state_of(job), state_of(stopped)
    for key in ("model", "heads", "average", "optimizer", "sums"):
        assert_same(one[key], other[key], key)
    assert log_of(job) == log_of(stopped)
    assert [row["step"] for row in log_of(job)] == ["2", "4", "6", "8"]


def test_an_imprinted_classifier_resumes_alike(job: Job) -> None:
    losses = job.recipe.losses.model_copy(update={"identity_scale": 16.0})
    job = replace(job, recipe=job.recipe.model_copy(update={"losses": losses}))
    train(job, Hooks())
    stopped = replace(job, output=job.output.with_name("stopped"))
    train(replace(stopped, deadline=monotonic()), Hooks())
    assert state_of(stopped)["counts"][0] == 1
    train(stopped, Hooks())
    assert_same(state_of(job)["heads"], state_of(stopped)["heads"])


def test_a_crash_goes_back_to_the_last_checkpoint_and_writes_no_line_twice(job: Job) -> None:
    train(job, Hooks())

    class Crash(Hooks):
        def on_step(self, what: str, done: int, total: int | None) -> None:
            if done == 7:
                raise RuntimeError("crash")

    recipe = job.recipe.model_copy(update={"save_every": 5})
    crashed = replace(job, recipe=recipe, output=job.output.with_name("crashed"))
    with pytest.raises(RuntimeError, match="crash"):
        train(crashed, Crash())
    assert state_of(crashed)["counts"][0] == 5
    assert log_of(crashed)[-1]["step"] == "6"
    train(crashed, Hooks())
    assert log_of(crashed) == log_of(job)
    assert_same(state_of(job)["average"], state_of(crashed)["average"])


def test_a_deadline_stops_saves_and_leaves_weights_to_use(job: Job) -> None:
    outcome = train(replace(job, deadline=monotonic()), Hooks())
    assert outcome.step == 1
    assert state_of(job)["counts"][0] == 1
    assert read_metadata(outcome.model)["training"]["steps"] == 1
    assert train(job, Hooks()).step == 8


def test_the_model_is_the_average_for_pictures_of_the_last_stage(job: Job) -> None:
    outcome = train(job, Hooks())
    model = load_model(outcome.model)
    last = job.recipe.stages[-1]
    assert model.architecture == job.recipe.at(last.height)
    assert model.architecture.stripes == last.height // 16
    assert (model.preprocessing.height, model.preprocessing.width) == (last.height, last.width)
    average = state_of(job)["average"]
    assert all(torch.equal(value, average[key]) for key, value in model.state_dict().items())
    assert not torch.equal(average["backbone.conv.weight"], state_of(job)["model"]["backbone.conv.weight"])
    training = read_metadata(outcome.model)["training"]
    assert training["recipe"]["lr"] == 0.01
    assert training["training_set"]["identities"] == 6
    assert training["steps"] == training["of_steps"] == 8


def test_training_learns(job: Job) -> None:
    stages = [job.recipe.stages[0].model_copy(update={"steps": 60, "identities": 6, "frozen": ()})]
    recipe = job.recipe.model_copy(update={"stages": tuple(stages), "log_every": 10})
    train(replace(job, recipe=recipe), Hooks())
    rows = log_of(job)
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    assert float(rows[-1]["accuracy"]) > 0.8


def test_frozen_parts_keep_weights_and_statistics(job: Job) -> None:
    before = {key: value.clone() for key, value in _begun(job, Hooks()).model.state_dict().items()}
    one = job.recipe.model_copy(update={"stages": job.recipe.stages[:1]})
    train(replace(job, recipe=one), Hooks())
    after = state_of(job)["model"]
    for key, value in after.items():
        same = torch.equal(value, before[key])
        assert same == key.startswith("backbone.stages.0.") or key == "head.norm.bias", key


def test_entering_a_stage_thaws_what_the_stage_before_froze(recipe: Recipe, job: Job) -> None:
    model = _begun(job, Hooks()).model
    enter_stage(model, recipe, recipe.stages[0])
    assert not model.backbone.stages[0].blocks[0].conv1.weight.requires_grad
    assert model.architecture.stripes == 2
    enter_stage(model, recipe, recipe.stages[1])
    frozen = [name for name, value in model.named_parameters() if not value.requires_grad]
    assert frozen == ["head.norm.bias"]
    assert all(module.training for module in model.modules())
    wrong = recipe.stages[0].model_copy(update={"frozen": ("backbone.stage.0",)})
    with pytest.raises(ValueError, match=r"no part 'backbone.stage.0'"):
        enter_stage(model, recipe, wrong)


def test_a_changed_recipe_or_data_is_named(job: Job, training_set: TrainingSet) -> None:
    train(replace(job, deadline=monotonic()), Hooks())
    changed = job.recipe.model_copy(update={"lr": 0.1, "save_every": 3})
    with pytest.raises(ValueError, match=r"another recipe \(lr changed\)"):
        train(replace(job, recipe=changed), Hooks())
    other = replace(training_set, cameras=training_set.cameras + 1)
    with pytest.raises(ValueError, match="a run with another training_set"):
        train(replace(job, training_set=other), Hooks())
    free = job.recipe.model_copy(update={"save_every": 3})
    assert train(replace(job, recipe=free), Hooks()).step == 8


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_saved(job: Job) -> None:
    recipe = job.recipe.model_copy(update={"lr": 1e30, "log_every": 1, "save_every": 1})
    with pytest.raises(ValueError, match="the loss is not finite any more at step"):
        train(replace(job, recipe=recipe), Hooks())


def with_teacher(job: Job, tmp_path: Path) -> Job:
    features = np.random.default_rng(0).normal(size=(90, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    np.save(tmp_path / "teacher.npy", features.astype(np.float16))
    losses = job.recipe.losses.model_copy(
        update={"relational": 1.0, "direct": 1.0, "relational_dimension": 6}
    )
    recipe = job.recipe.model_copy(update={"losses": losses})
    return replace(job, recipe=recipe, teacher=Teacher("t", tmp_path / "teacher.npy", 5))


def test_distillation_has_heads_of_its_own_that_the_model_does_not_keep(job: Job, tmp_path: Path) -> None:
    taught = with_teacher(job, tmp_path)
    outcome = train(taught, Hooks())
    row = log_of(taught)[-1]
    assert float(row["relational"]) > 0
    assert 0 < float(row["direct"]) < 2
    heads = state_of(taught)["heads"]
    assert {key: tuple(v.shape) for key, v in heads.items() if key.endswith("weight")} == {
        "identity.weight": (6, 128), "relational.weight": (6, 128), "direct.weight": (5, 128),
    }  # fmt: skip
    assert load_model(outcome.model).dimension == 128
    with pytest.raises(ValueError, match="a run with another teacher"):
        train(replace(taught, teacher=replace(taught.teacher, name="u")), Hooks())


def test_a_teacher_that_is_needed_is_asked_for(job: Job, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give --teacher"):
        train(replace(with_teacher(job, tmp_path), teacher=None), Hooks())


def test_the_paper_s_optimizer_decays_everything_and_ours_no_norms(job: Job) -> None:
    def groups(decay_norms: bool) -> list[tuple[float, int]]:
        recipe = job.recipe.model_copy(update={"decay_norms": decay_norms, "optimizer": "adam"})
        run: Run = _begun(replace(job, recipe=recipe), Hooks())
        return [(g["weight_decay"], min(p.ndim for p in g["params"])) for g in run.optimizer.param_groups]

    assert groups(True) == [(5e-4, 1)]
    assert groups(False) == [(5e-4, 2), (0.0, 1)]
