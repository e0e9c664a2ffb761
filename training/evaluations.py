"""How well the network of the moment finds people: a run's model as an embedder, on whole data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evaluation.datasets import ReidDataset
from evaluation.reid import evaluate
from models.preprocess import Preprocessing
from models.ste_nvan import EmbeddingModel
from pipeline.embedding import Clip
from pipeline.hooks import Hooks
from storage.records import EmbedderSpec


class ModelEmbedder:
    """A network in memory with the contract of an embedder plug-in.

    Args:
        model: In eval mode.
        preprocessing: At the size that the model sees in training at the moment.
        dtype: Of autocast.
    """

    fallback: str | None = None
    of_clips = True

    def __init__(self, model: EmbeddingModel, preprocessing: Preprocessing, dtype: torch.dtype) -> None:
        self._model, self._preprocessing, self._dtype = model, preprocessing, dtype
        self.spec = EmbedderSpec("in_training", "", preprocessing.hash, model.dimension)

    def embed(self, clips: Sequence[Clip]) -> npt.NDArray[np.float32]:
        """(N, D) float32 of N clips of 8 crops."""
        device = next(self._model.parameters()).device
        batch = torch.from_numpy(self._preprocessing.batch(clips)).to(device)  # (N, T, 3, H, W)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32),
        ):
            features = self._model(batch)
        return np.asarray(features.float().cpu().numpy(), np.float32)


def evaluate_sets(
    embedder: ModelEmbedder, datasets: Sequence[ReidDataset], hooks: Hooks
) -> list[dict[str, Any]]:
    """Rank-k and mAP, in [0, 1], of each data set: the columns of `evaluations.csv` but for the step."""
    rows = []
    for dataset in datasets:
        result = evaluate(dataset, embedder, hooks=hooks)
        ranks = {f"rank{k}": result.rank[k] for k in (1, 5, 10, 20)}
        rows.append({"set": dataset.name, **ranks, "mAP": result.mean_ap, "seconds": result.seconds})
    return rows
