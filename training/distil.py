"""A teacher's embeddings as an additional target: computed once for all crops, compared in two ways.

`relational_loss` asks that the clips of a batch lie to each other as they do for the teacher: Park, Kim, Lu,
Cho, "Relational Knowledge Distillation" (CVPR 2019), here by cosines, with rows compared as distributions.
`direct_loss` asks for the teacher's vector itself. Both act on linear heads of their own that only training
has, so that they do not fight the identity loss over one feature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.nn import functional

from pipeline.embedding import Embedder, unit
from pipeline.hooks import Hooks
from pipeline.types import CLIP_LENGTH
from training.packed import files_hash, read_crop

_CHUNK = 256  # crops between two notes of how far it got


@dataclass(frozen=True)
class Teacher:
    """A teacher's features of a training set.

    Attributes:
        name: Embedder and hashes: what made the features.
        features: `.npy` of `(N, D) float16` unit vectors, one per crop.
        dimension: D.
    """

    name: str
    features: Path
    dimension: int


def relational_loss(student: Tensor, teacher: Tensor, temperature: float, smooth_l1: float = 0) -> Tensor:
    """How far the cosines within a batch are from the teacher's.

    Mean over rows i of `KL(softmax_j(t_ij / temperature) || softmax_j(s_ij / temperature))`, j != i, plus
    `smooth_l1` times the mean smooth-L1 difference of `s_ij` and `t_ij`.

    Args:
        student: `(B, D)` of its own head, any length but 0; B at least 2.
        teacher: `(B, E)`, likewise.
        temperature: Above 0; a low one looks at the nearest neighbours only.
        smooth_l1: Weight of the plain differences.

    Returns:
        A number of at least 0; 0 where all cosines agree.
    """
    ours, theirs = _cosines(student), _cosines(teacher)
    loss = functional.kl_div(
        functional.log_softmax(ours / temperature, 1),
        functional.log_softmax(theirs / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return loss + smooth_l1 * functional.smooth_l1_loss(ours, theirs) if smooth_l1 else loss


def direct_loss(predicted: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cosine between predicted and the teacher's vectors, both `(B, E)`; in [0, 2]."""
    return (1 - functional.cosine_similarity(predicted, teacher)).mean()


def _cosines(features: Tensor) -> Tensor:
    """`(B, D)` to `(B, B - 1)`: each with all others."""
    directions = functional.normalize(features.float(), dim=1)
    others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    return (directions @ directions.T)[others].reshape(len(features), -1)


def compute_teacher(embedder: Embedder, files: Sequence[str], folder: Path, hooks: Hooks) -> Teacher:
    """Embed every crop once, or find the features that were computed before; goes on where it was stopped.

    Args:
        embedder: The teacher.
        files: N picture files.
        folder: Where features are kept, in a file named by the teacher's hashes and the list of crops.
        hooks: Told of progress.

    Raises:
        ValueError: A crop cannot be decoded, or the teacher gives nothing for it.
    """
    spec = embedder.spec
    made_from = json.dumps([spec.name, spec.weights_hash, spec.preprocessing_hash, files_hash(files)])
    key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    path = folder / f"teacher_{spec.name}_{key}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part, progress = path.with_suffix(".part"), path.with_suffix(".progress")
        _embed_all(embedder, files, part, progress, hooks)
        part.replace(path)
        progress.unlink()
    return Teacher(str(spec), path, spec.dimension)


def _done(progress: Path) -> int:
    text = progress.read_text() if progress.exists() else ""
    return int(text) if text.isdigit() else 0


def _embed_all(embedder: Embedder, files: Sequence[str], part: Path, progress: Path, hooks: Hooks) -> None:
    shape = (len(files), embedder.spec.dimension)
    done = _done(progress) if part.exists() else 0
    features = open_memmap(part, mode="r+" if done else "w+", dtype=np.float16, shape=shape)
    for start in range(done, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        # A clip of one picture: what makes a vector of 8 frames makes one of this frame.
        rows = unit(embedder.embed([[read_crop(path)] * CLIP_LENGTH for path in chunk]))
        if not np.isfinite(rows).all():
            wrong = chunk[int(np.flatnonzero(~np.isfinite(rows).all(1))[0])]
            raise ValueError(f"the teacher {embedder.spec.name} gives nothing for {wrong}")
        features[start : start + len(rows)] = rows
        features.flush()
        beside = progress.with_suffix(".next")
        beside.write_text(str(start + len(rows)))
        beside.replace(progress)
        hooks.on_step("teacher", start + len(rows), len(files))
