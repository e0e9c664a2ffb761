"""ResNet backbone that sees whole clips: residual stages with non-local blocks and temporal pooling between.

He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride in the 3x3 convolution.
As in the released STE-NVAN code, no ReLU follows the batch norm of the stem; with one, embeddings are 5 to
30 % off. Frames travel as one `(B * T, C, H, W)` batch in channels-last memory, so that the tokens of the
non-local blocks and the pooling over frames are views of the map and not copies.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from models.non_local import NonLocalBlock, autocast_off

EXPANSION = 4


class Bottleneck(nn.Module):
    """Residual block 1x1, 3x3, 1x1; `(N, in_channels, H, W)` to `(N, 4 * width, H / stride, W / stride)`."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Adds what the block learnt to its input."""
        y = self.norm1(self.conv1(x)).relu_()
        y = self.norm2(self.conv2(y)).relu_()
        y = self.norm3(self.conv3(y))
        y += self.shortcut(x)
        return cast(Tensor, y.relu_())


class Stage(nn.Module):
    """Residual blocks of one resolution; the last of them have one non-local block each behind them."""

    def __init__(self, blocks: Sequence[Bottleneck], non_local: Sequence[NonLocalBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.non_local = nn.ModuleList(non_local)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """`(B * num_frames, C, H, W)` in, the stage's map of the same frames out."""
        first = len(self.blocks) - len(self.non_local)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index >= first:
                x = self.non_local[index - first](x, num_frames)
        return x


class ClipResNet(nn.Module):
    """Four residual stages over the frames of clips; the last keeps the resolution of the third.

    Args:
        width: Channels of the stem; stage s gives `width * 4 * 2**s` channels.
        depths: Residual blocks of the four stages.
        non_local: Per stage, the non-local blocks that follow its last residual blocks.
        pool_after: Stages (0-based) after which neighbouring pairs of frames are max-pooled into one.
    """

    def __init__(
        self,
        width: int,
        depths: Sequence[int],
        non_local: Sequence[Sequence[NonLocalBlock]],
        pool_after: Sequence[int],
    ) -> None:
        super().__init__()
        self.pool_after = tuple(pool_after)
        self.conv = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.stages = nn.ModuleList()
        channels = width
        for index, depth in enumerate(depths):
            inner = width << index
            stride = 2 if index in (1, 2) else 1
            blocks = [
                Bottleneck(channels if i == 0 else inner * EXPANSION, inner, stride if i == 0 else 1)
                for i in range(depth)
            ]
            channels = inner * EXPANSION
            self.stages.append(Stage(blocks, non_local[index]))
        self.num_sensitive = 1 + max(
            (i for i, some in enumerate(non_local) for block in some if not (block.stripes and block.window)),
            default=-1,
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Computes the last feature map.

        Args:
            clips: `(B, T, 3, H, W)` normalised pictures.

        Returns:
            `(B, T', C, H / 16, W / 16)`; T' is T halved for each pooling of frames.
        """
        batch, num_frames = clips.shape[:2]
        x = clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (B * T, 3, H, W)
        # Attention over pixels or whole clips can be so sharp that rounding the input alone to bfloat16 moves
        # the embedding by 0.003 in cosine: in use, autocast begins behind the last of those blocks.
        precise = self.num_sensitive > 0 and not self.training
        with autocast_off(x.device.type) if precise else nullcontext():
            if precise:
                x = x.to(self.conv.weight.dtype)
            x = self.pool(self.norm(self.conv(x)))  # the released network has no ReLU here
            x, num_frames = self._through(x, num_frames, 0, self.num_sensitive)
        x, num_frames = self._through(x, num_frames, self.num_sensitive, len(self.stages))
        return x.reshape(batch, num_frames, *x.shape[1:])

    def _through(self, x: Tensor, num_frames: int, first: int, last: int) -> tuple[Tensor, int]:
        """Stages `first` to `last` (exclusive), each with the pooling of frames behind it."""
        for index in range(first, last):
            x = self.stages[index](x, num_frames)
            if index in self.pool_after:
                x, num_frames = _max_over_pairs(x), num_frames // 2
        return x, num_frames


def _max_over_pairs(x: Tensor) -> Tensor:
    """Maximum of frames 0 and 1, 2 and 3, ...: `(N, C, H, W)` to `(N / 2, C, H, W)`."""
    return torch.maximum(x[0::2], x[1::2])
