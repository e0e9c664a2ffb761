"""Fits a network to cameras it has not seen: batch-norm statistics from unlabelled crops, no training.

Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation" (2016): the means and variances
inside a network describe the pictures it was trained on; those of the user's cameras differ in light, colour
and sharpness. The old statistics keep a share, as in Schneider et al., "Improving robustness against common
corruptions by covariate shift adaptation" (2020), because few clips give noisy ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from models.preprocess import Clip as Prepared
from models.preprocess import Preprocessing, sample_frame_indices
from models.ste_nvan import EmbeddingModel
from pipeline.crops import decode_jpeg
from pipeline.embedding import Clip
from pipeline.types import CLIP_LENGTH, Image
from storage.errors import CropsExpired, GalleryDamaged
from storage.gallery import Gallery

MIN_CLIPS = 16  # of fewer, the variances are mostly chance
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_Item = TypeVar("_Item")


class NotEnoughClips(ValueError):
    """Too few pictures of people to measure statistics on."""


class _Statistics:
    """Mean and variance per channel of all that entered one batch norm, merged batch by batch.

    Chan et al., "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
    """

    def __init__(self, norm: nn.Module, alpha: float) -> None:
        mean, var = norm.running_mean, norm.running_var
        assert isinstance(mean, Tensor)
        assert isinstance(var, Tensor)
        self._running = (mean, var)
        self._old = (mean.double(), var.double())  # copies: (C,) each
        self._alpha = alpha
        self._count = 0
        self._mean = torch.zeros_like(self._old[0])
        self._squares = torch.zeros_like(self._old[0])  # sum of squared differences from the mean

    def before_forward(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Adds a batch; the norm then uses what is known so far, as the layers behind it will in use."""
        x = inputs[0]  # (N, C) or (N, C, H, W)
        var, mean = (v.double() for v in torch.var_mean(x.float(), [0, *range(2, x.ndim)], correction=0))
        added = x.numel() // x.shape[1]
        total = self._count + added
        apart = mean - self._mean
        self._mean += apart * added / total
        self._squares += var * added + apart.square() * self._count * added / total
        self._count = total
        measured = (self._mean, self._squares / max(1, total - 1))  # unbiased, as torch keeps it
        for running, old, new in zip(self._running, self._old, measured, strict=True):
            running.copy_((1 - self._alpha) * old + self._alpha * new)


@torch.no_grad()
def adapt_batch_norm(
    model: EmbeddingModel, clips: Iterable[Prepared | Tensor], *, alpha: float = 0.5
) -> EmbeddingModel:
    """Measures a network's batch-norm statistics anew; its weights stay.

    Args:
        model: The network; it is not changed.
        clips: Batches `(B, T, 3, H, W) float32`, prepared by the network's preprocessing; of people in random
            order, so that no batch is of one camera alone.
        alpha: Share of the new statistics in (0, 1]; 1 forgets the old ones.

    Returns:
        A copy in eval mode on the same device.

    Raises:
        NotEnoughClips: Fewer than `MIN_CLIPS` clips.
        ValueError: `alpha` is out of range, or the clips hold numbers that are not finite.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1], not {alpha}")
    adapted = copy.deepcopy(model).eval()
    device = next(adapted.parameters()).device
    norms = [module for module in adapted.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(_Statistics(norm, alpha).before_forward) for norm in norms]
    number = 0
    for batch in clips:
        tensor = torch.from_numpy(batch) if isinstance(batch, np.ndarray) else batch
        adapted(tensor.to(device, torch.float32))
        number += len(tensor)
    for handle in handles:
        handle.remove()
    if number < MIN_CLIPS:
        raise NotEnoughClips(f"{number} clips are too few to adapt to: at least {MIN_CLIPS} are needed")
    if not all(bool(buffer.isfinite().all()) for buffer in adapted.buffers()):
        raise ValueError("the clips hold numbers that are not finite: prepare them anew")
    return adapted


def gallery_clips(gallery: Gallery, number: int, rng: np.random.Generator) -> list[Callable[[], Clip | None]]:
    """At most `number` tracklets of a gallery in random order, as functions that read one clip of each."""
    ids = [record.id for record in gallery.tracklets()]
    return _chosen(ids, lambda tracklet: _stored_crops(gallery, tracklet), number, rng)


def folder_clips(folder: Path, number: int, rng: np.random.Generator) -> list[Callable[[], Clip | None]]:
    """As `gallery_clips`, of a folder of crops.

    Each folder below is a tracklet, its pictures in the order of their names the frames of one person; a
    picture in `folder` itself is a tracklet of one frame.

    Raises:
        NotADirectoryError: There is no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"no folder {folder}: give the folder that holds the crops")
    tracklets: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICTURES and path.is_file():
            tracklets.setdefault(path if path.parent == folder else path.parent, []).append(path)
    return _chosen(list(tracklets.values()), lambda files: [f.read_bytes() for f in files], number, rng)


def batches(
    clips: Sequence[Callable[[], Clip | None]], preprocessing: Preprocessing, size: int = 8
) -> Iterator[Prepared]:
    """Reads clips and prepares them in batches `(B, T, 3, H, W) float32`, B at most `size`; skips None."""
    waiting: list[Clip] = []
    for position, read in enumerate(clips, 1):
        if (clip := read()) is not None:
            waiting.append(clip)
        if waiting and (len(waiting) == size or position == len(clips)):
            yield preprocessing.batch(waiting)
            waiting = []


def adaptation_metadata(
    original: Mapping[str, Any], sha256: str, num_clips: int, alpha: float
) -> dict[str, Any]:
    """What a checkpoint says of its adaptation; what was measured of the original stays with the original."""
    kept: dict[str, Any] = {key: original[key] for key in ("licence", "training_data") if key in original}
    adapted = {"adapted_from": sha256, "adapted_clips": num_clips, "adapted_alpha": alpha}
    return kept | adapted | {"original": dict(original)}


def _chosen(
    items: Sequence[_Item], read: Callable[[_Item], Sequence[bytes]], number: int, rng: np.random.Generator
) -> list[Callable[[], Clip | None]]:
    def reader(item: _Item) -> Callable[[], Clip | None]:
        return lambda: _clip(read(item), rng)

    return [reader(items[i]) for i in rng.permutation(len(items))[:number].tolist()]


def _clip(pictures: Sequence[bytes], rng: np.random.Generator) -> Clip | None:
    """One random clip of the pictures that can be decoded; None when there are none."""
    if not pictures:
        return None
    wanted = sample_frame_indices(len(pictures), CLIP_LENGTH, rng)
    decoded: dict[int, Image | None] = {int(i): decode_jpeg(pictures[i]) for i in set(wanted.tolist())}
    crops = [crop for i in wanted.tolist() if (crop := decoded[i]) is not None]
    return crops + crops[-1:] * (CLIP_LENGTH - len(crops)) if crops else None


def _stored_crops(gallery: Gallery, tracklet: int) -> list[bytes]:
    try:
        return gallery.crops(tracklet)
    except (CropsExpired, GalleryDamaged):  # reported where it matters: by queries and by re-indexing
        return []
