"""How many steps a run has, and the learning rate of each: pure functions of recipe and step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.recipe import Recipe
from training.sampler import steps_per_epoch


@dataclass(frozen=True)
class Plan:
    """A recipe's stages in steps.

    Attributes:
        starts: First step of each stage, then the number of all steps.
        epoch_steps: Steps of an epoch in each stage.
    """

    starts: tuple[int, ...]
    epoch_steps: tuple[int, ...]

    @property
    def num_steps(self) -> int:
        """Of the whole run."""
        return self.starts[-1]

    def stage(self, step: int) -> int:
        """The stage of a step; the last one's for the step after the end."""
        return max(i for i, start in enumerate(self.starts[:-1]) if start <= step)

    def epoch(self, step: int) -> float:
        """Epochs done before a step, over all stages."""
        ends = zip(self.starts, self.starts[1:], self.epoch_steps, strict=False)
        return sum(max(0, min(step, stop) - start) / size for start, stop, size in ends)


def make_plan(recipe: Recipe, num_identities: int) -> Plan:
    """Turn epochs into steps.

    Raises:
        ValueError: The data has fewer identities than a batch of some stage.
    """
    sizes = [steps_per_epoch(num_identities, stage.identities) for stage in recipe.stages]
    starts = [0]
    for stage, size in zip(recipe.stages, sizes, strict=True):
        starts.append(starts[-1] + (stage.steps or (stage.epochs or 0) * size))
    return Plan(tuple(starts), tuple(sizes))


def learning_rate(recipe: Recipe, plan: Plan, step: int) -> float:
    """Of a 0-based step: warm-up, then steps down by epochs or half a cosine, times the stage's scale."""
    schedule = recipe.schedule
    rate = recipe.lr * recipe.stages[plan.stage(step)].lr_scale
    if step < schedule.warmup_steps:
        return rate * (step + 1) / schedule.warmup_steps
    if schedule.kind == "step":
        decays = math.floor((plan.epoch(step) + 1e-9) / schedule.decay_epochs)
        return float(rate * schedule.decay_factor**decays)
    left = plan.num_steps - schedule.warmup_steps
    progress = (step - schedule.warmup_steps) / left if left > 0 else 1.0
    return rate * (schedule.final_scale + (1 - schedule.final_scale) * (1 + math.cos(math.pi * progress)) / 2)
