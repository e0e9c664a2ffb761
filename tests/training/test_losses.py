"""Triplet loss: a case worked by hand, then the numbers of the released code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from training.losses import soft_margin_batch_hard_triplet

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "golden_triplet.npz")


def test_hand_worked() -> None:
    # On a line: two of person 0 at 0 and 3, two of person 1 at 4 and 10.
    features = torch.tensor([[0.0, 0.0], [3.0, 0.0], [4.0, 0.0], [10.0, 0.0]])
    losses = soft_margin_batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]))
    margins = [3 - 4, 3 - 1, 6 - 1, 6 - 7]  # farthest own minus nearest other
    assert losses.tolist() == pytest.approx([math.log1p(math.exp(m)) for m in margins], abs=1e-5)


def test_numbers_of_the_released_code() -> None:
    features, labels = torch.from_numpy(GOLDEN["features"]), torch.from_numpy(GOLDEN["labels"])
    losses = soft_margin_batch_hard_triplet(features, labels)
    torch.testing.assert_close(losses, torch.from_numpy(GOLDEN["loss_per_anchor"]), rtol=1e-5, atol=1e-5)
    assert float(losses.mean()) == pytest.approx(float(GOLDEN["mean"]), abs=1e-5)


def test_gradient_is_finite_even_where_features_are_equal() -> None:
    features = torch.tensor([[1.0, 2.0]] * 2 + [[3.0, 1.0]] * 2, requires_grad=True)
    soft_margin_batch_hard_triplet(features, torch.tensor([0, 0, 1, 1])).mean().backward()
    assert bool(features.grad.isfinite().all())


def test_half_precision_does_not_overflow() -> None:
    features = torch.tensor([[0.0], [300.0], [900.0]], dtype=torch.float16)
    with torch.autocast("cpu", torch.bfloat16):
        losses = soft_margin_batch_hard_triplet(features, torch.tensor([0, 0, 1]))
    assert losses.tolist() == pytest.approx([0, 0, 0], abs=1e-3)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="at least two identities"):
        soft_margin_batch_hard_triplet(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ValueError, match=r"features \(N, D\) and labels \(N,\) expected"):
        soft_margin_batch_hard_triplet(torch.zeros(3, 2), torch.zeros(2))
