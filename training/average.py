"""Exponential moving average of a network: its weights and its batch norms' statistics."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


def start_average(model: Network) -> Network:
    """A copy in eval mode that needs no gradient."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model: `a = d a + (1 - d) m` with `d = min(decay, (1 + n) / (10 + n))`.

    The lower decay of the first steps lets go of the initial weights sooner. Counters are copied.

    Args:
        average: Changed in place.
        model: The network after the step.
        decay: In [0, 1); 0 copies the model.
        step: Steps done before this one, n.
    """
    decay = min(decay, (1 + step) / (10 + step)) if decay > 0 else 0.0
    pairs = list(zip(_tensors(average), _tensors(model), strict=True))
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    # All tensors in one call: a GPU would lose more time on hundreds of small ones.
    move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    move([old for old, _ in floating], [new for _, new in floating], 0)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
