"""What accepting and rejecting does to a ranking, and what similarity two different people seldom reach.

    python benchmarks/feedback.py --root DIR [--embedder NAME] [--people 250] [--cache FILE.npz]

DIR is Market-1501 as `evaluation/datasets/market1501.py` reads it. Tracklets of a random part of its people
are embedded once; the first half of those people chooses, the second half reports. All are in the gallery.

A simulated user asks with one tracklet, looks at the first ten that are not decided yet, says truthfully of
each whether it is the person, and looks again. Tracklets of the person in the query's own camera are left
out. The first tables are about what is left after the first page, which is the same for all methods: mean
average precision, and recall among the next ten, over queries that still have something to find; "found" is
the share of all right answers on the pages so far, of 20 and of 40 tracklets looked at. The last tables are
about the threshold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
import numpy.typing as npt

from evaluation.datasets import load
from evaluation.reid import embed_tracklets
from pipeline.embedding import Embedding, build_embedder, named_embedder, unit
from pipeline.feedback import ranking_direction

PAGE, PAGES = 10, 4
Rows = npt.NDArray[np.int64]
Score = Callable[[Embedding, Embedding, Embedding], Embedding]
"""(N, D) gallery, (P, D) positives, (R, D) rejected -> (N,) scores."""


@dataclass(frozen=True)
class People:
    """N labelled embeddings."""

    spec: str
    embeddings: Embedding
    pids: Rows
    camids: Rows


def people_of(options: argparse.Namespace) -> People:
    """Embeddings of the first people of a random order: from the cache, the rest made now."""
    dataset = load("market1501", options.root)
    everybody = np.unique([tracklet.pid for tracklet in dataset.query])
    chosen = np.random.default_rng(0).permutation(everybody)[: options.people]
    settings = named_embedder(options.embedder)
    known: dict[int, Embedding] = {}
    if options.cache and options.cache.exists():
        with np.load(options.cache) as stored:
            known = {int(pid): stored[pid] for pid in stored.files}
    embedder = build_embedder(settings)
    by_pid = {pid: [t for t in dataset.gallery if t.pid == pid] for pid in chosen.tolist()}
    for done, (pid, tracklets) in enumerate(by_pid.items(), start=1):
        if pid not in known:
            known[pid] = embed_tracklets(tracklets, embedder)
            if options.cache and (done % 5 == 0 or done == len(by_pid)):
                np.savez(options.cache, **{str(number): rows for number, rows in known.items()})
                print(f"{done} of {len(by_pid)} people", file=sys.stderr, flush=True)
    spec = f"{embedder.spec.name} {embedder.spec.weights_hash}"
    labels = [(tracklet.pid, tracklet.camid) for tracklets in by_pid.values() for tracklet in tracklets]
    pids, camids = np.array(labels, np.int64).T
    return People(spec, np.concatenate([known[pid] for pid in by_pid]), pids, camids)


def rocchio(weight: float) -> Score:
    """What `pipeline/feedback.py` does, with another weight."""
    return lambda gallery, positives, rejected: gallery @ ranking_direction(positives, rejected, weight)


def penalty(weight: float) -> Score:
    """Nearer to something rejected than to the person: less by a share of the difference."""

    def score(gallery: Embedding, positives: Embedding, rejected: Embedding) -> Embedding:
        similar = gallery @ unit(positives.mean(0)[None])[0]
        if not len(rejected):
            return similar
        return similar - weight * np.maximum(0, (gallery @ rejected.T).max(1) - similar)

    return score


def best(gallery: Embedding, positives: Embedding, rejected: Embedding) -> Embedding:
    """The best of the positives; rejected ones change nothing."""
    return (gallery @ positives.T).max(1)


def query_only(gallery: Embedding, positives: Embedding, rejected: Embedding) -> Embedding:
    """No feedback: the query alone."""
    return gallery @ positives[0]


def accepts_only(score: Score) -> Score:
    """The same without what was rejected."""
    return lambda gallery, positives, rejected: score(gallery, positives, rejected[:0])


def simulate(people: People, query: int, score: Score) -> tuple[float, float, float, float]:
    """One query.

    Returns:
        Average precision and recall at ten of what the first page left (NaN if nothing), and the share of
        right answers found after two and after four pages.
    """
    right = people.pids == people.pids[query]
    junk = right & (people.camids == people.camids[query])
    total = int((right & ~junk).sum())
    undecided = ~junk
    yes, no = [query], []
    after_page, found = (np.nan, np.nan), []
    for page in range(PAGES):
        scores = np.where(
            undecided, score(people.embeddings, people.embeddings[yes], people.embeddings[no]), -np.inf
        )
        order = np.argsort(-scores, kind="stable")[: int(undecided.sum())]
        if page == 1 and right[order].any():
            after_page = average_precision(right[order]), right[order[:PAGE]].sum() / right[order].sum()
        seen = order[:PAGE]
        undecided[seen] = False
        yes += seen[right[seen]].tolist()
        no += seen[~right[seen]].tolist()
        found.append((len(yes) - 1) / total)
    return float(after_page[0]), float(after_page[1]), found[1], found[-1]


def average_precision(right: npt.NDArray[np.bool_]) -> float:
    """Of a ranking with at least one right answer; the mean of precisions at right answers."""
    ranks = np.flatnonzero(right)
    return float((np.arange(1, len(ranks) + 1) / (ranks + 1)).mean())


def feedback_table(people: People, half: Rows, methods: dict[str, Score]) -> None:
    """A row for each method, over the queries of half of the people."""
    several = [p for p in half if len(np.unique(people.camids[people.pids == p])) > 1]
    queries = np.flatnonzero(np.isin(people.pids, several))
    print("| method | mAP of the rest | recall at 10 of the rest | found in 20 | found in 40 |")
    print("|---|---|---|---|---|")
    for name, score in methods.items():
        rows = np.array([simulate(people, int(query), score) for query in queries])
        means = [f"{value:.4f}" for value in np.nanmean(rows, axis=0)]
        print(f"| {name} | {' | '.join(means)} |", flush=True)
    left = int((~np.isnan(rows[:, 0])).sum())
    print(f"\n{len(queries)} queries, of which {left} have something left after the first page.\n")


def threshold_tables(people: People, half: Rows) -> None:
    """Similarities that few pairs of different people in different cameras reach, and who reaches them."""
    mine = np.isin(people.pids, half)
    vectors, pids, camids = people.embeddings[mine], people.pids[mine], people.camids[mine]
    table = vectors @ vectors.T
    pairs = np.triu(camids[:, None] != camids[None, :], 1)
    same = pids[:, None] == pids[None, :]
    true, false = table[pairs & same], table[pairs & ~same]
    print(f"{len(true)} true pairs, {len(false)} pairs of different people, all of different cameras\n")
    print("| false match rate | similarity | true pairs above it |")
    print("|---|---|---|")
    limits = {}
    for rate in (0.01, 0.001):
        limits[rate] = float(np.quantile(false, 1 - rate))
        print(f"| {rate:.1%} | {limits[rate]:.4f} | {(true >= limits[rate]).mean():.4f} |")
    print("\nThe same similarity with several positives (of one person, drawn at random):\n")
    print("| positives | measure | false match rate at 0.1 % | at 1 % | true above 0.1 % |")
    print("|---|---|---|---|---|")
    for count in (1, 2, 3, 4):
        for name, rates in several_positives(vectors, pids, camids, count, limits).items():
            print(f"| {count} | {name} | {' | '.join(f'{rate:.4%}' for rate in rates)} |")


def several_positives(
    vectors: Embedding, pids: Rows, camids: Rows, count: int, limits: dict[float, float]
) -> dict[str, tuple[float, float, float]]:
    """False match rates and true match rate at fixed limits if a person is known by `count` tracklets."""
    rng = np.random.default_rng(1)
    collected: dict[str, tuple[list[Embedding], list[Embedding]]] = {}
    for pid in np.unique(pids):
        own = rng.permutation(np.flatnonzero(pids == pid))
        if len(own) <= count:
            continue
        given = vectors[own[:count]]
        elsewhere = ~np.isin(camids, camids[own[:count]])
        rest = np.setdiff1d(np.flatnonzero((pids == pid) & elsewhere), own[:count])
        others = np.flatnonzero((pids != pid) & elsewhere)
        for name, scores in {
            "cosine with the mean direction": vectors @ unit(given.mean(0)[None])[0],
            "mean of the cosines": vectors @ given.mean(0),
            "best of the cosines": (vectors @ given.T).max(1),
        }.items():
            true, false = collected.setdefault(name, ([], []))
            true.append(scores[rest])
            false.append(scores[others])
    joined = {name: (np.concatenate(t), np.concatenate(f)) for name, (t, f) in collected.items()}
    return {
        name: (
            float((f >= limits[0.001]).mean()),
            float((f >= limits[0.01]).mean()),
            float((t >= limits[0.001]).mean()),
        )
        for name, (t, f) in joined.items()
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--embedder", default="ste_nvan")
    parser.add_argument("--people", type=int, default=250)
    parser.add_argument("--cache", type=Path, help="a .npz for embeddings; goes on where it was stopped")
    options = parser.parse_args()
    people = people_of(options)
    everybody = np.random.default_rng(1).permutation(np.unique(people.pids))
    choose, report = np.array_split(everybody, 2)
    print(f"{people.spec}: {len(people.pids)} tracklets of {len(everybody)} people\n")
    weights = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
    print("Half that chooses:\n")
    feedback_table(
        people,
        choose,
        {
            "no feedback": query_only,
            "accepts, best of": best,
            "accepts, mean direction": rocchio(0.0),
            **{f"accepts and rejects, Rocchio {weight}": rocchio(weight) for weight in weights},
            **{f"accepts and rejects, penalty {weight}": penalty(weight) for weight in (0.25, 0.5, 1.0)},
        },
    )
    print("Half that reports:\n")
    chosen: Score = lambda gallery, positives, rejected: gallery @ ranking_direction(positives, rejected)  # noqa: E731
    feedback_table(
        people,
        report,
        {
            "no feedback": query_only,
            "accepts only": accepts_only(chosen),
            "accepts and rejects": chosen,
        },
    )
    print("Threshold, everybody:\n")
    threshold_tables(people, everybody)


if __name__ == "__main__":
    main()
