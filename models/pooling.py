"""Feature pooling layer (FPL): the map of a clip becomes one vector, then a batch norm."""

from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["clip", "frame_mean", "frame_max"]


class FeaturePooling(nn.Module):
    """Averages a clip's map into one vector and normalises it over the training set.

    `clip` averages over frames and positions, then applies the batch norm. `frame_mean` and `frame_max`
    apply the batch norm to each frame's average and take the mean or the maximum over frames after it.
    The batch norm's weight and bias are kept (released checkpoints hold them) and its bias is never trained.
    """

    def __init__(self, channels: int, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.norm = nn.BatchNorm1d(channels)
        self.norm.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pools a batch of clips.

        Args:
            x: `(B, T, C, H, W)`.

        Returns:
            The feature before and the feature after the batch norm, each `(B, C)`. Under autocast both are
            float32, since the sums are where half precision would cost most.
        """
        dtype = self.norm.weight.dtype
        if self.pooling == "clip":
            pooled = x.mean((1, 3, 4), dtype=dtype)
            return pooled, self.norm(pooled)
        frames = x.mean((3, 4), dtype=dtype)  # (B, T, C)
        normed = self.norm(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return self._over_frames(frames), self._over_frames(normed)

    def _over_frames(self, frames: Tensor) -> Tensor:
        return frames.mean(1) if self.pooling == "frame_mean" else torch.amax(frames, 1)
