"""Batches of P identities and K tracklets: who is in them, from which cameras; the step alone decides."""

from __future__ import annotations

import numpy as np
import pytest

from training.sampler import batch_tracklets, group, steps_per_epoch

# Tracklets 0-3: person 0 in cameras 0, 0, 1, 2; 4-5: person 1 in camera 1 twice; 6, 7, 8: persons 2, 3, 4.
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 3, 4])
CAMERAS = np.array([0, 0, 1, 2, 1, 1, 0, 1, 2])


def test_groups_by_identity_and_camera() -> None:
    groups = [[tracklets.tolist() for tracklets in cameras] for cameras in group(LABELS, CAMERAS)]
    assert groups == [[[0, 1], [2], [3]], [[4, 5]], [[6]], [[7]], [[8]]]


def test_groups_do_not_need_sorted_tracklets() -> None:
    order = np.array([8, 3, 5, 0, 7, 2, 6, 1, 4])
    groups = group(LABELS[order], CAMERAS[order])
    back = [[sorted(order[tracklets].tolist()) for tracklets in cameras] for cameras in groups]
    assert back == [[[0, 1], [2], [3]], [[4, 5]], [[6]], [[7]], [[8]]]


def batch(step: int, p: int = 2, k: int = 4, **options: object) -> np.ndarray:
    return batch_tracklets(group(LABELS, CAMERAS), step, identities=p, tracklets=k, seed=7, **options)  # type: ignore[arg-type]


def test_every_identity_once_in_an_epoch_and_the_last_batch_is_filled_up() -> None:
    assert steps_per_epoch(5, 2) == 3
    for epoch in range(4):
        people = np.concatenate([LABELS[batch(3 * epoch + i)][::4] for i in range(3)])
        assert sorted(people[:5]) == [0, 1, 2, 3, 4]
        assert people[5] == people[0]


def test_clips_of_an_identity_lie_side_by_side_and_a_batch_has_no_identity_twice() -> None:
    for step in range(30):
        people = LABELS[batch(step)].reshape(2, 4)
        assert (people == people[:, :1]).all()
        assert people[0, 0] != people[1, 0]


def test_different_cameras_first_and_no_tracklet_twice_before_all_were_taken() -> None:
    seen = set()
    for step in range(200):
        for k, distinct in ((2, 2), (3, 3), (4, 3)):
            chosen = batch(step, p=5, k=k)
            mine = chosen[LABELS[chosen] == 0]
            assert len(set(CAMERAS[mine])) == distinct
            assert len(set(mine)) == k
            seen |= set(mine.tolist())
    assert seen == {0, 1, 2, 3}


def test_identities_with_few_tracklets_repeat_them_evenly() -> None:
    chosen = batch(0, p=5, k=4)
    assert sorted(chosen[LABELS[chosen] == 1]) == [4, 4, 5, 5]
    assert chosen[LABELS[chosen] == 2].tolist() == [6] * 4


def test_any_of_the_identity_s_tracklets_as_the_paper() -> None:
    pairs = set()
    for step in range(200):
        chosen = batch(step, p=5, k=2, across_cameras=False)
        pairs.add(tuple(sorted(chosen[LABELS[chosen] == 0].tolist())))
    assert (0, 1) in pairs  # both of camera 0
    assert len(pairs) == 6
    assert all(len(set(pair)) == 2 for pair in pairs)


def test_pure_function_of_seed_stage_and_step() -> None:
    later = batch(5)
    batch(0)
    assert (batch(5) == later).all()
    groups = group(LABELS, CAMERAS)
    others = [
        batch_tracklets(groups, 5, identities=5, tracklets=4, seed=seed, stage=stage).tolist()
        for seed, stage in ((7, 0), (8, 0), (7, 1))
    ]
    assert others[0] != others[1]
    assert others[0] != others[2]


def test_too_few_identities_are_named() -> None:
    with pytest.raises(ValueError, match="takes 6 identities and the training data has 5"):
        batch(0, p=6)
