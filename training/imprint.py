"""The classifier's start: of each identity the mean direction of its clips, as the network sees them now.

Qi, Brown, Lowe, "Low-Shot Learning with Imprinted Weights" (CVPR 2018). Random directions must be unlearnt
first, which takes a few visits to every identity: with thousands of them, most of a short run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from models.ste_nvan import EmbeddingModel
from pipeline.hooks import Hooks
from training.clips import PlainBatches, StageBatches, load_batches, normalised

_TRACKLETS = 2  # of each identity: enough for a start


@torch.no_grad()
def imprint(
    classifier: nn.Linear, model: EmbeddingModel, batches: StageBatches, hooks: Hooks, *, half: bool = False
) -> None:
    """Sets the rows of a classifier on cosines.

    Args:
        classifier: `(identities, D)` without bias; its rows become unit vectors.
        model: Embeds, in evaluation mode and on the device of the classifier.
        batches: Of the stage that begins.
        hooks: Told of progress.
        half: Compute in bfloat16.
    """
    weight = classifier.weight
    sums = torch.zeros_like(weight)
    plain = PlainBatches(batches, _some_of_each(batches))
    loaded = load_batches(plain, 0, len(plain), workers=batches.recipe.workers)
    for number, batch in enumerate(loaded, start=1):
        clips, labels = batch.clips.to(weight.device), batch.labels.to(weight.device)
        with torch.autocast(weight.device.type, torch.bfloat16, enabled=half):
            _, after = model.pool(normalised(clips, model.preprocessing))
        sums.index_add_(0, labels, functional.normalize(after.float()))
        hooks.on_step("a first look at everybody", number, len(plain))
    weight.copy_(functional.normalize(sums))


def _some_of_each(batches: StageBatches) -> NDArray[np.int64]:
    """Tracklets of every identity, of as many cameras as may be."""
    return np.concatenate([_across(cameras)[:_TRACKLETS] for cameras in batches.groups])


def _across(cameras: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """An identity's tracklets, the first of every camera first."""
    rank = np.concatenate([np.arange(len(tracklets)) for tracklets in cameras])
    return np.concatenate(cameras)[np.argsort(rank, kind="stable")]
