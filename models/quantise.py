"""Weights as 8-bit integers with a scale per output channel: a quarter of the size, nearly the same network.

Symmetric, weights only: a file is unpacked to float32 when it is loaded, so nothing but the storage changes.
Each channel's scale is the one of least squared error (Choukroun et al., "Low-bit Quantization of Neural
Networks for Efficient Inference", 2019): the largest weight alone is a poor guide, as a channel's few
outliers would coarsen all its other weights. Rounding is then balanced, so that the errors of a channel add
up to nothing (Guo et al., "SQuant: On-the-Fly Data-Free Quantization via Diagonal Hessian Approximation",
ICLR 2022): activations behind a ReLU have a mean above 0, and a sum of errors would shift all that follows.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LEVELS = 127  # -127 to 127: symmetric, so that a weight and its negative are rounded alike
SCALE_SUFFIX = ".scale"
# Shares of a channel's largest magnitude that become the largest integer. A lone outlier among n weights is
# best clipped to 1 / (1 + n / (12 * 127**2)) of itself, 0.98 for our largest n of 4,608; less is rarely best.
_CLIP_RATIOS = (1.0, 0.97, 0.94, 0.9, 0.85, 0.8)
_LEAST_SCALE = torch.finfo(torch.float32).tiny


class QuantisationError(ValueError):
    """Weights that cannot be packed, or packed weights that cannot be unpacked; names the tensors."""


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds a weight to 8-bit integers, channel by channel.

    Args:
        weight: `(C, ...)` floating point and finite, with C output channels first, as convolutions and
            linear layers have it.

    Returns:
        `(C, ...) int8` in [-127, 127] and `(C,) float32` scales above 0; their product is near `weight`.
    """
    exact = weight.detach().to("cpu", torch.float32).contiguous()
    rows = exact.flatten(1)  # (C, N)
    peak = (rows.abs().amax(1, keepdim=True) / LEVELS).clamp(min=_LEAST_SCALE)  # (C, 1)
    rows = rows / peak  # in [-127, 127]: no square of a weight can overflow
    best = torch.ones_like(peak)
    best_error = torch.full_like(peak, torch.inf)
    for ratio in _CLIP_RATIOS:
        error = (rows - _rounded(rows / ratio) * ratio).square_().sum(1, keepdim=True)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best = torch.where(better, ratio, best)
    best = _refined(rows, best)
    steps = rows / best
    values = _rounded(steps)
    if (kernel := exact[0, 0].numel() if exact.ndim > 2 and len(exact) else 1) > 1:
        values = _balanced(values.reshape(-1, kernel), steps.reshape(-1, kernel)).reshape(rows.shape)
    values = _balanced(values, steps).to(torch.int8).reshape(exact.shape)
    return values, (best * peak).clamp_(min=_LEAST_SCALE).flatten()


def dequantise(values: Tensor, scale: Tensor) -> Tensor:
    """`(C, ...) int8` and `(C,)` scales back to `(C, ...) float32`."""
    return values.to(torch.float32) * scale.to(torch.float32).reshape(-1, *[1] * (values.ndim - 1))


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Replaces every floating point tensor of two or more dimensions by integers and their scales.

    Vectors (batch norms, biases) stay as they are: they are a fiftieth of the bytes, and each of their
    numbers acts on a whole channel.

    Returns:
        The tensors to store, scales under the weight's key + `.scale`; and by key the `relative_error` of
        each weight replaced.
    """
    packed: dict[str, Tensor] = {}
    errors: dict[str, float] = {}
    for key, tensor in tensors.items():
        if tensor.ndim < 2 or not tensor.is_floating_point():
            packed[key] = tensor
            continue
        packed[key], packed[key + SCALE_SUFFIX] = values, scale = quantise(tensor)
        errors[key] = relative_error(dequantise(values, scale), tensor)
    return packed, errors


def relative_error(stored: Tensor, exact: Tensor) -> float:
    """Norm of the difference over the norm of `exact`; 0 where both are nothing but zeros."""
    return float((stored.to(exact.dtype) - exact).norm() / exact.norm().clamp(min=_LEAST_SCALE))


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `pack`; what is not packed is passed on.

    Raises:
        QuantisationError: An integer weight has no scale, one of another shape, or one that is not finite
            and above 0.
    """
    unpacked = dict(tensors)
    faults = []
    for key, values in tensors.items():
        if values.dtype != torch.int8 or values.ndim < 2:
            continue
        scale = unpacked.pop(key + SCALE_SUFFIX, None)
        fault = _fault(scale, values.shape[0])
        if scale is None or fault:
            faults.append(f"{key}{SCALE_SUFFIX} {fault}")
        else:
            unpacked[key] = dequantise(values, scale)
    if faults:
        more = f" and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise QuantisationError(f"{'; '.join(faults[:4])}{more}")
    return unpacked


def _fault(scale: Tensor | None, channels: int) -> str:
    if scale is None:
        return "is missing"
    if tuple(scale.shape) != (channels,) or not scale.is_floating_point():
        return f"is {tuple(scale.shape)} {scale.dtype} instead of ({channels},) floating point"
    return "" if bool((scale.isfinite() & (scale > 0)).all()) else "is not finite and above 0"


def _rounded(steps: Tensor) -> Tensor:
    return steps.round().clamp_(-LEVELS, LEVELS)


def _refined(rows: Tensor, scale: Tensor) -> Tensor:
    """The scale that fits best to the integers that `scale` leads to, by least squares."""
    values = _rounded(rows / scale)
    weight = values.square().sum(1, keepdim=True)
    return torch.where(weight > 0, (rows * values).sum(1, keepdim=True) / weight.clamp(min=1), scale)


def _balanced(values: Tensor, exact: Tensor) -> Tensor:
    """Rounds as few numbers of each row the other way as make its sum right to half a step.

    Args:
        values: `(R, N)` whole numbers in [-127, 127].
        exact: `(R, N)` what they were rounded from, in the same steps.

    Returns:
        `(R, N)` whole numbers; those moved are the ones nearest to the other side, by one step.
    """
    residue = exact - values
    excess = residue.sum(1, keepdim=True)  # (R, 1)
    sign = excess.sign()
    gain = (residue * sign).masked_fill_((values + sign).abs() > LEVELS, -1)  # the larger, the less is lost
    moves = excess.abs().round().long().clamp_(max=exact.shape[1])  # (R, 1)
    most = int(moves.max()) if len(moves) else 0
    best, places = gain.topk(most, dim=1)  # (R, most)
    moved = (torch.arange(most) < moves) & (best > 0)
    return values.scatter_add(1, places, sign * moved)
