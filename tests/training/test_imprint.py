import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.ste_nvan import build
from pipeline.hooks import Hooks
from training.clips import StageBatches, TrainingSet, normalised
from training.imprint import imprint
from training.recipe import Recipe
from training.step import fit_height


class Counting(Hooks):
    def __init__(self) -> None:
        self.steps: list[tuple[int, int | None]] = []

    def on_step(self, what: str, done: int, total: int | None) -> None:
        self.steps.append((done, total))


def test_a_row_is_the_mean_direction_of_its_identity(training_set: TrainingSet, recipe: Recipe) -> None:
    model = build(recipe.network(), generator=torch.Generator().manual_seed(0)).eval()
    fit_height(model, recipe, recipe.stages[0].height)
    batches = StageBatches(training_set, recipe, 0)
    classifier = nn.Linear(model.dimension, training_set.num_identities, bias=False)
    hooks = Counting()
    imprint(classifier, model, batches, hooks)
    assert hooks.steps == [(1, 2), (2, 2)]  # 6 people x 2 tracklets, 6 a batch
    sums = torch.zeros_like(classifier.weight)
    chosen = np.arange(18).reshape(6, 3)[:, :2].reshape(2, 6)  # two of the three cameras
    for number, tracklets in enumerate(chosen):
        clips, labels, _ = batches.load(tracklets, (recipe.seed, 0, 4, number), None)
        with torch.inference_mode():
            _, after = model.pool(normalised(clips, model.preprocessing))
        for label, feature in zip(labels.tolist(), functional.normalize(after), strict=True):
            sums[label] += feature
    torch.testing.assert_close(classifier.weight.detach(), functional.normalize(sums))


def test_an_identity_of_many_tracklets_is_seen_in_all_its_cameras(recipe: Recipe) -> None:
    from training.imprint import _across

    cameras = [np.array([0, 1, 2, 3]), np.array([4]), np.array([5, 6])]
    assert _across(cameras).tolist() == [0, 4, 5, 1, 6, 2, 3]
