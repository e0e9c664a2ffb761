"""What one clip costs: multiply-adds of convolutions and matrix products, counted as they run."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_multiply_adds(model: nn.Module, clip_shape: Sequence[int] = (8, 3, 256, 128)) -> int:
    """Counts the multiply-adds of embedding one clip, without computing it.

    Args:
        model: Network that takes `(B, T, 3, H, W)`; it is left as it is.
        clip_shape: `(T, 3, H, W)`.

    Returns:
        Multiply-adds of all convolutions and matrix products; sums, norms and activations count nothing.
    """
    tensors = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }
    clip = torch.empty((1, *clip_shape), device="meta")
    # The plain attention kernel shows its two matrix products to the counter; the fused ones hide them.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        functional_call(model, tensors, (clip,))
    return int(counter.get_total_flops()) // 2


def count_parameters(model: nn.Module) -> int:
    """Numbers a training would learn or keep fixed: weights and biases, without the norms' statistics."""
    return sum(parameter.numel() for parameter in model.parameters())
