"""The moving average of weights and statistics, worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.average import start_average, update_average


def network(weight: float, mean: float, count: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(1)
    with torch.no_grad():
        norm.weight.fill_(weight)
    norm.running_mean.fill_(mean)
    norm.num_batches_tracked.fill_(count)
    return norm


def test_weights_and_statistics_move_by_the_decay_and_counters_are_copied() -> None:
    average = start_average(network(1.0, 10.0, 3))
    update_average(average, network(2.0, 20.0, 4), 0.9, step=1000)
    assert float(average.weight) == pytest.approx(0.9 * 1 + 0.1 * 2)
    assert float(average.running_mean) == pytest.approx(0.9 * 10 + 0.1 * 20)
    assert int(average.num_batches_tracked) == 4


@pytest.mark.parametrize(("step", "decay"), [(0, 1 / 10), (8, 9 / 18), (80, 81 / 90), (81, 0.9)])
def test_the_decay_of_the_first_steps_is_lower(step: int, decay: float) -> None:
    average = start_average(network(1.0, 0.0, 0))
    update_average(average, network(0.0, 0.0, 0), 0.9, step)
    assert float(average.weight) == pytest.approx(decay)


def test_no_decay_copies() -> None:
    average, model = start_average(network(1.0, 1.0, 0)), network(5.0, 7.0, 1)
    update_average(average, model, 0, 1000)
    assert (float(average.weight), float(average.running_mean)) == (5, 7)


def test_the_average_is_a_copy_for_use() -> None:
    model = network(1.0, 0.0, 0)
    average = start_average(model)
    assert not average.training
    assert not average.weight.requires_grad
    assert model.training
    assert model.weight.requires_grad
    with torch.no_grad():
        model.weight.fill_(9)
    assert float(average.weight) == 1
