"""Which tracklets make a batch: P identities, K tracklets of each, from different cameras where possible.

Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification" (2017) for P x K. Every
choice is a pure function of (seed, stage, step), so a run resumes at any step without replaying the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
# One list per identity; in it, one array of tracklet indices per camera that saw it.
TrackletsByIdentity = Sequence[Sequence[Indices]]

_ORDER, _STEP = 1, 2  # what a generator is for: streams of one (seed, stage) never meet


def group(labels: Indices, cameras: Indices) -> list[list[Indices]]:
    """Tracklets by identity and camera.

    Args:
        labels: `(M,)` identity of each tracklet, 0-based without gaps.
        cameras: `(M,)` camera of each tracklet.

    Returns:
        For each identity, for each of its cameras, the indices of its tracklets there.
    """
    groups: list[list[Indices]] = []
    order = np.lexsort((cameras, labels))
    for label in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        groups.append(np.split(label, np.flatnonzero(np.diff(cameras[label])) + 1))
    return groups


def steps_per_epoch(num_identities: int, batch_identities: int) -> int:
    """Batches in which every identity occurs.

    Raises:
        ValueError: There are fewer identities than a batch takes.
    """
    if num_identities < batch_identities:
        raise ValueError(
            f"a batch takes {batch_identities} identities and the training data has {num_identities}: "
            "set stages.N.identities lower"
        )
    return -(-num_identities // batch_identities)


def batch_tracklets(
    groups: TrackletsByIdentity,
    step: int,
    *,
    identities: int,
    tracklets: int,
    seed: int,
    stage: int = 0,
    across_cameras: bool = True,
) -> Indices:
    """The tracklets of one batch.

    An epoch shows every identity once, in a random order; its last batch is filled up with the epoch's
    first identities, so that all batches have one size.

    Args:
        groups: From `group`.
        step: 0-based, within the stage.
        identities: P.
        tracklets: K.
        seed: Of the run.
        stage: Of the run; stages draw different orders.
        across_cameras: Go round the cameras of an identity, as opposed to drawing from all its tracklets.

    Returns:
        `(P * K,)` tracklet indices, those of an identity side by side.
    """
    epoch, batch = divmod(step, steps_per_epoch(len(groups), identities))
    order = np.random.default_rng((seed, stage, _ORDER, epoch)).permutation(len(groups))
    chosen = order[np.arange(batch * identities, (batch + 1) * identities) % len(order)]
    rng = np.random.default_rng((seed, stage, _STEP, step))
    draw = _round_the_cameras if across_cameras else _from_all
    return np.concatenate([draw(groups[identity], tracklets, rng) for identity in chosen])


def _round_the_cameras(cameras: Sequence[Indices], count: int, rng: np.random.Generator) -> Indices:
    """One tracklet of each camera in turn; none twice before all were taken."""
    taken: list[np.int64] = []
    while len(taken) < count:
        decks = [rng.permutation(cameras[camera]) for camera in rng.permutation(len(cameras))]
        for depth in range(max(map(len, decks))):
            taken += [deck[depth] for deck in decks if depth < len(deck)]
    return np.asarray(taken[:count], np.int64)


def _from_all(cameras: Sequence[Indices], count: int, rng: np.random.Generator) -> Indices:
    """Any of the identity's tracklets, different ones if there are enough."""
    everything = np.concatenate(list(cameras))
    return np.asarray(rng.choice(everything, count, replace=len(everything) < count), np.int64)
