"""STE-NVAN and its relatives: one network, six variants by arguments.

Liu, Wu, Wang, Chien, "Spatially and Temporally Efficient Non-local Attention Network for Video-based Person
Re-Identification" (BMVC 2019). ResNet-50 with the last stage at stride 1; non-local blocks behind the last
residual blocks of stages 2 and 3; feature pooling and a batch norm. The classifier belongs to training.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, cast, get_args

import torch
from torch import Tensor, nn

from models.non_local import NonLocalBlock
from models.pooling import FeaturePooling, Pooling
from models.preprocess import Preprocessing
from models.resnet import EXPANSION, ClipResNet


class UnknownVariant(ValueError):
    """A variant name that is not one of `VARIANTS`."""

    def __init__(self, variant: str) -> None:
        super().__init__(f"unknown model variant {variant!r}; choose one of {', '.join(VARIANTS)}")


@dataclass(frozen=True)
class Architecture:
    """What tells one network of the family from another; all of it fits in a checkpoint's JSON.

    Attributes:
        non_local: Non-local blocks per stage; n of them follow the stage's last n residual blocks.
        stripes: Horizontal stripes per frame that the non-local blocks attend over; None: all pixels.
        window: Neighbouring frames that attend to each other; None: all frames of the clip.
        temporal_reduction: Max-pool neighbouring pairs of frames after stages 2 and 3 (T: 8, 4, 2).
        pooling: How the last map becomes one vector, see `FeaturePooling`.
        width: Channels of the stem; the embedding has 32 times as many. 64 but in tests.
        depths: Residual blocks per stage, ResNet-50's unless in tests.
    """

    non_local: tuple[int, int, int, int] = (0, 0, 0, 0)
    stripes: int | None = None
    window: int | None = None
    temporal_reduction: bool = False
    pooling: Pooling = "clip"
    width: int = 64
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"pooling {self.pooling!r} is not one of {', '.join(get_args(Pooling))}")
        for name, least in (("depths", 1), ("non_local", 0)):
            counts = getattr(self, name)
            if len(counts) != 4 or min(counts) < least:
                raise ValueError(f"{name} must be four numbers of at least {least}, not {counts}")
        if any(n > depth for n, depth in zip(self.non_local, self.depths, strict=True)):
            raise ValueError(f"non_local {self.non_local} asks for more blocks than depths {self.depths} has")
        for name in ("stripes", "window", "width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")

    @property
    def dimension(self) -> int:
        """Length of the embedding."""
        return self.width * 8 * EXPANSION

    @property
    def frame_multiple(self) -> int:
        """A clip's number of frames must be a multiple of this."""
        multiple = 4 if self.temporal_reduction else 1
        for stage, count in enumerate(self.non_local):
            if count and self.window is not None:
                halvings = min(max(stage - 1, 0), 2) if self.temporal_reduction else 0
                multiple = math.lcm(multiple, self.window << halvings)
        return multiple

    @property
    def height_multiple(self) -> int:
        """A picture's height in pixels must be a multiple of this: whole stripes at every non-local block."""
        strides = [min(4 << stage, 16) for stage, count in enumerate(self.non_local) if count]
        return 1 if self.stripes is None else max(strides, default=0) * self.stripes or 1

    def at(self, height: int) -> Self:
        """The same network for pictures of another height in pixels: its stripes keep their share of the map.

        Weights know nothing of stripes, so those of one height load at another; the paper's 16 belong to 256.
        """
        return self if self.stripes is None else replace(self, stripes=self.stripes * height // 256)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings and lists; `from_json` gives the same architecture back."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; ValueError on unknown keys or values out of range."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown architecture argument {', '.join(unknown)}")
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**arguments)


_BLOCKS = (0, 2, 3, 0)
VARIANTS: dict[str, Architecture] = {
    "resnet50_fpl": Architecture(pooling="frame_mean"),
    "resnet50_max_fpl": Architecture(pooling="frame_max"),
    "nvan": Architecture(non_local=_BLOCKS),
    "nvan_spatial": Architecture(non_local=_BLOCKS, stripes=16),
    "nvan_temporal": Architecture(non_local=_BLOCKS, temporal_reduction=True),
    "ste_nvan": Architecture(non_local=_BLOCKS, stripes=16, window=2, temporal_reduction=True),
}


class EmbeddingModel(nn.Module):
    """Clips in, one vector per clip out.

    Attributes:
        architecture: The arguments this network was made from.
        preprocessing: How pictures must be prepared for it; part of a checkpoint.
        variant: Its name in `VARIANTS`, or None.
        dimension: Length of the vector.
    """

    def __init__(self, architecture: Architecture, preprocessing: Preprocessing | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        self.preprocessing = preprocessing or Preprocessing()
        blocks = [
            [
                NonLocalBlock(
                    (architecture.width * EXPANSION) << stage, architecture.stripes, architecture.window
                )
                for _ in range(count)
            ]
            for stage, count in enumerate(architecture.non_local)
        ]
        pool_after = (1, 2) if architecture.temporal_reduction else ()
        self.backbone = ClipResNet(architecture.width, architecture.depths, blocks, pool_after)
        self.head = FeaturePooling(architecture.dimension, architecture.pooling)

    @property
    def variant(self) -> str | None:
        """Name of this architecture in `VARIANTS`, at the height of its pictures; None when it is another."""
        height = self.preprocessing.height
        return next((name for name, known in VARIANTS.items() if known.at(height) == self.architecture), None)

    @property
    def dimension(self) -> int:
        """Length of the embedding."""
        return self.architecture.dimension

    def forward(self, clips_BTCHW: Tensor) -> Tensor:
        """Embeds a batch of clips.

        Args:
            clips_BTCHW: `(B, T, 3, H, W)` floating point, normalised RGB; T = 8, 256 x 128 pixels as trained.

        Returns:
            `(B, D)` feature after the batch norm, not normalised: compare by cosine.

        Raises:
            ValueError: The shape does not suit the architecture.
        """
        return self.pool(clips_BTCHW)[1]

    def pool(self, clips_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, but gives the feature before the batch norm (for the triplet loss) as well."""
        self._check(tuple(clips_BTCHW.shape))
        return cast(tuple[Tensor, Tensor], self.head(self.backbone(clips_BTCHW)))

    def _check(self, shape: tuple[int, ...]) -> None:
        # While tracing, sizes are tensors and branches on them would be lost.
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            return
        if len(shape) != 5 or shape[2] != 3:
            raise ValueError(f"clips must have the shape (B, T, 3, H, W), not {shape}")
        frames, height, width = self.architecture.frame_multiple, self.architecture.height_multiple, 1
        for name, size, multiple in (
            ("frames T", shape[1], frames),
            ("height H", shape[3], height),
            ("width W", shape[4], width),
        ):
            if size < 1 or size % multiple:
                wanted = f"a multiple of {multiple}" if multiple > 1 else "at least 1"
                raise ValueError(f"{name} of a clip must be {wanted} for this model, not {size}")

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws fresh weights; each non-local block starts as the identity, as in the paper."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, NonLocalBlock):
                nn.init.zeros_(module.norm.weight)


def architecture_of(variant: str) -> Architecture:
    """The architecture of a name in `VARIANTS`; UnknownVariant otherwise."""
    if variant not in VARIANTS:
        raise UnknownVariant(variant)
    return VARIANTS[variant]


def build(
    variant: str | Architecture,
    *,
    preprocessing: Preprocessing | None = None,
    generator: torch.Generator | None = None,
) -> EmbeddingModel:
    """Makes an untrained network on the CPU, in training mode.

    Args:
        variant: A name in `VARIANTS`, or an architecture of one's own.
        preprocessing: How pictures are prepared; ImageNet's mean and deviation at 256 x 128 if None.
        generator: Source of the random weights; torch's global one if None.

    Raises:
        UnknownVariant: The name is not known; the message lists those that are.
    """
    architecture = architecture_of(variant) if isinstance(variant, str) else variant
    with torch.device("meta"):  # drawn once below, not first by each layer and then again
        model = EmbeddingModel(architecture, preprocessing)
    model = model.to_empty(device="cpu")
    model.reset_parameters(generator)
    return model.to(memory_format=torch.channels_last)
