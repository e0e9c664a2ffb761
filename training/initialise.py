"""Weights to begin with: torchvision's ResNet-50 of ImageNet, whole or in part, or a checkpoint of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import load_model, official_key, read_tensors
from models.ste_nvan import EmbeddingModel

_NORM = re.compile(r"(.*)\.(?:norm(\d?)|shortcut\.1)\.\w+$")
_IGNORED = re.compile(r"(.*\.)?num_batches_tracked$")  # a counter that our momentum does not use


@dataclass(frozen=True)
class Initialisation:
    """What a file gave to a network.

    Attributes:
        loaded: Keys of our state dict that were found.
        fresh: Keys that keep their random start.
        left: Keys of batch norms that the file has, and that stay fresh since their convolution does.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        parts = sorted({".".join(key.split(".")[:3]) for key in self.fresh})
        text = f"{len(self.loaded)} tensors loaded"
        text += f"; random in {', '.join(parts)}" if parts else "; nothing stays random"
        if self.left:
            text += f"; {len(self.left)} tensors of batch norms not used, as their convolutions are missing"
        return text


@torch.no_grad()
def from_imagenet(model: EmbeddingModel, path: str | Path) -> Initialisation:
    """Copies what a torchvision ResNet-50 file holds onto the backbone.

    Non-local blocks and the last batch norm have no counterpart there and stay as they are. The statistics
    of a batch norm describe the outputs of one convolution: where that convolution is missing, they would
    scale a random one's channels by the spread of others, so a fresh batch norm is kept.

    Args:
        model: Changed in place.
        path: `resnet50-*.pth` of torchvision, or part of one; `.safetensors` with the same keys also does.

    Returns:
        What was found and what stays random.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is no state dict, or a tensor has another shape than ours.
    """
    tensors = {key.removeprefix("module."): value for key, value in read_tensors(Path(path)).items()}
    state = model.state_dict()
    found = {key: tensors[name] for key in state if (name := _torchvision_key(key)) in tensors}
    if not any(value.ndim == 4 for value in found.values()):
        raise ValueError(f"{path} holds no convolution of torchvision's ResNet-50, such as conv1.weight")
    _check_shapes(found, state, path)
    left = {key for key in found if (conv := _convolution_of(key)) is not None and conv not in found}
    for key in found.keys() - left:
        state[key].copy_(found[key])
    for key in state.keys() - found.keys():
        # A residual block that stays random begins as the identity (Goyal et al., "Accurate, Large Minibatch
        # SGD", 2017), so that what was learnt below it reaches the embedding from the first step on.
        if key.endswith(".conv3.weight"):
            state[key.replace("conv3", "norm3")].zero_()
    wanted = [key for key in state if not _IGNORED.match(key)]
    return Initialisation(
        loaded=tuple(key for key in wanted if key in found and key not in left),
        fresh=tuple(key for key in wanted if key not in found or key in left),
        left=tuple(key for key in wanted if key in left),
    )


@torch.no_grad()
def from_checkpoint(model: EmbeddingModel, path: str | Path) -> Initialisation:
    """Copies the weights of a checkpoint of ours.

    Non-local blocks may be in one of the two networks alone: fresh ones start as the identity, so that a
    network can be trained on single pictures first and get its blocks then.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is no checkpoint of ours, or of another network.
    """
    other = load_model(path).state_dict()
    state = model.state_dict()
    only = sorted(key for key in other.keys() ^ state.keys() if ".non_local." not in key)
    if only:
        raise ValueError(f"{path} holds another network than the recipe's: {only[0]} is only in one of them")
    shared = {key: value for key, value in other.items() if key in state}
    _check_shapes(shared, state, path)
    for key, value in shared.items():
        state[key].copy_(value)
    wanted = [key for key in state if not _IGNORED.match(key)]
    return Initialisation(
        tuple(key for key in wanted if key in shared), tuple(key for key in wanted if key not in shared), ()
    )


def _torchvision_key(key: str) -> str | None:
    """Its name of one of our keys; the authors' backbone is torchvision's under a prefix."""
    name = official_key(key)
    return name.removeprefix("features.backbone.") if name.startswith("features.backbone.") else None


def _convolution_of(key: str) -> str | None:
    """The convolution in front of a batch norm, by the norm's key; None for other keys."""
    match = _NORM.match(key)
    if match is None:
        return None
    number = match[2]
    return f"{match[1]}.shortcut.0.weight" if number is None else f"{match[1]}.conv{number}.weight"


def _check_shapes(found: dict[str, Tensor], state: dict[str, Tensor], path: str | Path) -> None:
    for key, value in found.items():
        if value.shape != state[key].shape:
            shapes = f"{tuple(value.shape)} instead of {tuple(state[key].shape)}"
            raise ValueError(f"{path} has another shape at {key}: {shapes}")
