"""Non-local block: every position of a clip looks at every other and adds what it saw.

Wang et al., "Non-local Neural Networks" (2018), embedded Gaussian form; with the spatial reduction of
Liu et al., "Spatially and Temporally Efficient Non-local Attention Network for Video-based Person
Re-Identification" (BMVC 2019), in which a position is a horizontal stripe of a frame.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class NonLocalBlock(nn.Module):
    """Attention over the positions of a group of frames, added to the map.

    Args:
        channels: Channels C of the map; theta, phi and g have C / 2.
        stripes: Horizontal stripes per frame, each averaged into one position; None: each pixel is one.
        window: Neighbouring frames that see each other; None: all frames of the clip do.
    """

    def __init__(self, channels: int, stripes: int | None = None, window: int | None = None) -> None:
        super().__init__()
        self.stripes = stripes
        self.window = window
        inner = channels // 2
        self.theta = nn.Linear(channels, inner)
        self.phi = nn.Linear(channels, inner)
        self.g = nn.Linear(channels, inner)
        self.out = nn.Linear(inner, channels)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Adds to each position what it gathers from the others.

        Args:
            x: `(B * num_frames, C, H, W)`, best in channels-last memory; H a multiple of `stripes`.
            num_frames: Frames of each clip, a multiple of `window`.

        Returns:
            A map of the same shape, in channels-last memory.
        """
        if self.stripes is None:
            return self._added(x, num_frames)
        # Scores are not scaled and reach hundreds, so a rounding error of a feature moves the softmax.
        # On stripes full precision costs next to nothing; for pixels `ClipResNet` sees to it.
        with autocast_off(x.device.type):
            return self._added(x.to(self.theta.weight.dtype), num_frames).to(x.dtype)

    def _added(self, x: Tensor, num_frames: int) -> Tensor:
        rows = x.permute(0, 2, 3, 1)  # (B * T, H, W, C)
        if self.stripes is None:
            return (rows + self._attend(rows, num_frames)).permute(0, 3, 1, 2)
        height = rows.shape[1] // self.stripes
        striped = rows.reshape(-1, self.stripes, height, *rows.shape[2:])  # (B * T, S, H / S, W, C)
        seen = self._attend(striped.mean((2, 3)), num_frames)  # (B * T, S, C)
        return (striped + seen[:, :, None, None]).flatten(1, 2).permute(0, 3, 1, 2)

    def _attend(self, positions: Tensor, num_frames: int) -> Tensor:
        """`(B * T, ..., C)` positions of each frame in, what they gather in the same shape out."""
        channels = positions.shape[-1]
        frames = positions.flatten(1, -2)  # (B * T, P, C)
        window = num_frames if self.window is None else self.window
        tokens = frames.reshape(-1, window * frames.shape[1], channels)  # (groups, window * P, C)
        # One head of C / 2 channels; the published block does not divide the scores by a root.
        seen = functional.scaled_dot_product_attention(
            self.theta(tokens)[:, None], self.phi(tokens)[:, None], self.g(tokens)[:, None], scale=1.0
        )[:, 0]
        added = self.norm(self.out(seen).reshape(-1, channels))
        return cast(Tensor, added.reshape(positions.shape))


def autocast_off(device_type: str) -> AbstractContextManager[object]:
    """Computes in the weights' own precision inside; leaves no trace without autocast."""
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
