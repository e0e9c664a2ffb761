"""Losses over a batch of labelled features."""

import torch
from torch import Tensor
from torch.nn import functional


def soft_margin_batch_hard_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Soft-margin batch-hard triplet loss: each anchor with its farthest positive and nearest negative.

    Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification" (2017):
    `log(1 + exp(d(a, p) - d(a, n)))` with Euclidean distances.

    Args:
        features: `(N, D)` floating point, before the batch norm.
        labels: `(N,)` integer identities. One that occurs once is its own positive, at distance 0.

    Returns:
        `(N,)` loss per anchor, float32 or finer; its mean is what to minimise.

    Raises:
        ValueError: Shapes do not agree, or the batch holds one identity only (no negative).
    """
    _check(features, labels)
    same = labels[:, None] == labels[None, :]  # (N, N)
    if bool(same.all(1).any()):
        raise ValueError("a batch for the triplet loss needs at least two identities")
    with torch.autocast(features.device.type, enabled=False):  # squares of features overflow in float16
        distances = _euclidean(features if features.dtype == torch.float64 else features.float())
    farthest = distances.masked_fill(~same, 0).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    return functional.softplus(farthest - nearest)


def supervised_contrastive(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss: each anchor's positives against everything else in the batch.

    Khosla et al., "Supervised Contrastive Learning" (NeurIPS 2020), the form with the sum outside the
    logarithm. It needs no class weights, so it teaches from the first step however many identities there are.

    Args:
        features: `(N, D)` floating point, any length but 0; compared by cosine.
        labels: `(N,)` integer identities.
        temperature: Cosines are divided by it, above 0.

    Returns:
        `(M,)` loss per anchor that has a positive, float32 or finer; M may be 0.

    Raises:
        ValueError: Shapes do not agree.
    """
    _check(features, labels)
    with torch.autocast(features.device.type, enabled=False):
        unit = functional.normalize(features if features.dtype == torch.float64 else features.float())
        logits = unit @ unit.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    log_share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    count = positive.sum(1)
    return -(log_share.masked_fill(~positive, 0).sum(1)[count > 0] / count[count > 0])


def _check(features: Tensor, labels: Tensor) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features (N, D) and labels (N,) expected, not {tuple(features.shape)} and {tuple(labels.shape)}"
        )


def _euclidean(features: Tensor) -> Tensor:
    """`(N, N)` distances. The floor keeps the gradient of the root finite where two features are equal."""
    squares = features.square().sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * features @ features.T
    return squared.clamp_min(1e-12).sqrt()
