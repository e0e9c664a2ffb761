"""The learning rate step by step, against tables worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.recipe import Recipe, load_recipe
from training.schedule import learning_rate, make_plan

ROOT = Path(__file__).resolve().parents[2]


def made(stages: list[dict[str, Any]], **schedule: Any) -> Recipe:
    return Recipe.model_validate({"lr": 1.0, "stages": stages, "schedule": schedule})


def test_warm_up_then_half_a_cosine_by_step() -> None:
    recipe = made([{"steps": 6}], warmup_steps=2, final_scale=0.0)
    plan = make_plan(recipe, 100)
    # 1/2, 2/2, then (1 + cos(pi * i / 4)) / 2 for i = 0 ... 3
    expected = [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447]
    assert [learning_rate(recipe, plan, step) for step in range(6)] == pytest.approx(expected, abs=1e-6)


def test_cosine_ends_at_its_final_scale_and_stages_scale_it() -> None:
    recipe = made([{"steps": 2}, {"steps": 2, "lr_scale": 0.5}], final_scale=0.2)
    plan = make_plan(recipe, 100)
    cosine = [1.0, 0.853553, 0.5, 0.146447]
    expected = [(0.2 + 0.8 * value) * scale for value, scale in zip(cosine, (1, 1, 0.5, 0.5), strict=True)]
    assert [learning_rate(recipe, plan, step) for step in range(4)] == pytest.approx(expected, abs=1e-6)


def test_steps_down_by_epochs() -> None:
    recipe = made([{"epochs": 5, "identities": 4}], kind="step", decay_epochs=2, decay_factor=0.1)
    plan = make_plan(recipe, 10)  # 3 steps an epoch
    assert plan.num_steps == 15
    rates = [learning_rate(recipe, plan, step) for step in range(15)]
    assert rates == pytest.approx([1.0] * 6 + [0.1] * 6 + [0.01] * 3)


def test_epochs_add_up_over_stages() -> None:
    plan = make_plan(made([{"epochs": 2, "identities": 4}, {"steps": 4, "identities": 5}]), 10)
    assert plan.starts == (0, 6, 10)
    assert [plan.stage(step) for step in range(11)] == [0] * 6 + [1] * 5
    assert [plan.epoch(step) for step in (0, 3, 6, 7, 10)] == pytest.approx([0, 1, 2, 2.5, 4])


def test_the_paper_on_mars() -> None:
    """625 people in batches of 8: 79 steps an epoch; 1e-4 down to 1e-7 in 200 epochs."""
    recipe = load_recipe(ROOT / "configs" / "train_paper.yaml")
    plan = make_plan(recipe, 625)
    assert plan.num_steps == 200 * 79
    rates = [learning_rate(recipe, plan, 79 * epoch) for epoch in (0, 49, 50, 99, 100, 150, 199)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-7, 1e-7])
