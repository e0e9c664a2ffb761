"""How well an embedder finds people in a labelled data set: CMC and mAP, for all cameras and by camera pair.

Crops are decoded by threads while the embedder works, and only as many are held as those threads run ahead:
memory depends on the number of tracklets, not of their crops.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, product
from os import cpu_count
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evaluation.datasets import LabelledTracklet, ReidDataset
from evaluation.metrics import cmc_map, cmc_map_from_distances
from models.preprocess import clip_indices
from pipeline.crops import decode_jpeg
from pipeline.embedding import Clip, Embedder, Embedding, unit
from pipeline.hooks import Hooks
from pipeline.rerank import k_reciprocal_distances
from pipeline.types import CLIP_LENGTH

RANKS = (1, 5, 10, 20)
_MAX_THREADS = 8

Frames = Literal["clips", "mean"]
Clips = Literal["all", "first"]
_Rows = npt.NDArray[np.int64]
_Score = Callable[[_Rows, _Rows], tuple[npt.NDArray[np.float64], float]]


@dataclass(frozen=True)
class PairResult:
    """From one camera to another.

    Attributes:
        num_query: queries of the one camera whose person the other saw.
        rank1: share of them whose first candidate is right.
        mean_ap: mean average precision, in [0, 1].
    """

    num_query: int
    rank1: float
    mean_ap: float


@dataclass(frozen=True)
class ReidResult:
    """What an evaluation found.

    Attributes:
        dataset: name of the data set.
        embedder: the model, as it describes itself.
        method: which frames, which clips, and whether re-ranked: what two results must share.
        rank: share of queries with a right answer among the first k, for k of `RANKS`.
        mean_ap: mean average precision, in [0, 1].
        num_query: queries of the data set.
        num_answerable: those whose person another camera saw; the rates are over these.
        num_gallery: tracklets searched in, junk and distractors included.
        per_camera_pair: by (query camera, gallery camera), the gallery being that camera alone.
        seconds: wall time of decoding, embedding and ranking.
    """

    dataset: str
    embedder: str
    method: dict[str, Any]
    rank: dict[int, float]
    mean_ap: float
    num_query: int
    num_answerable: int
    num_gallery: int
    per_camera_pair: dict[tuple[int, int], PairResult]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; rates in [0, 1]."""
        pairs = [
            {
                "query_camera": here,
                "gallery_camera": there,
                "num_query": pair.num_query,
                "rank1": pair.rank1,
                "mAP": pair.mean_ap,
            }
            for (here, there), pair in self.per_camera_pair.items()
        ]
        return {
            "dataset": self.dataset,
            "embedder": self.embedder,
            **self.method,
            **{f"rank{k}": rate for k, rate in self.rank.items()},
            "mAP": self.mean_ap,
            "num_query": self.num_query,
            "num_answerable": self.num_answerable,
            "num_gallery": self.num_gallery,
            "per_camera_pair": pairs,
            "seconds": round(self.seconds, 3),
        }


def evaluate(
    dataset: ReidDataset,
    embedder: Embedder,
    *,
    batch_clips: int = 16,
    frames: Frames = "clips",
    clips: Clips = "all",
    rerank: bool = False,
    hooks: Hooks | None = None,
) -> ReidResult:
    """Search every query of a data set in its gallery.

    Args:
        dataset: its train part is not looked at.
        embedder: the model.
        batch_clips: clips that go through the model together.
        frames: "clips" for models of clips, "mean" for models of pictures; see `embed_tracklets`.
        clips: "all" RRS clips of a tracklet or the "first" one, as the STE-NVAN paper tests.
        rerank: k-reciprocal re-ranking over queries and gallery, k1 = 20, k2 = 6, lambda = 0.3.
        hooks: told how many tracklets are embedded.

    Raises:
        ValueError: there are no queries, none has a right answer, a crop cannot be decoded, or the model
            gives no embedding of a tracklet.
        OSError: a crop cannot be read.
    """
    begin = perf_counter()
    if not dataset.query or not dataset.gallery:
        raise ValueError(f"the data set {dataset.name} has no queries to search for in this folder")
    unique, query_rows, gallery_rows = _without_copies(dataset)
    embeddings = embed_tracklets(
        unique, embedder, batch_clips=batch_clips, frames=frames, clips=clips, hooks=hooks
    )
    score = _scoring(dataset, embeddings, query_rows, gallery_rows, rerank)
    everything = (np.arange(len(query_rows)), np.arange(len(gallery_rows)))
    cmc, mean_ap = score(*everything)
    return ReidResult(
        dataset=dataset.name,
        embedder=str(embedder.spec),
        method={"frames": frames, "clips": clips, "rerank": rerank},
        rank={k: float(cmc[k - 1]) for k in RANKS},
        mean_ap=mean_ap,
        num_query=len(query_rows),
        num_answerable=len(_answerable(dataset, *everything)),
        num_gallery=len(gallery_rows),
        per_camera_pair=_by_camera_pair(dataset, score),
        seconds=perf_counter() - begin,
    )


def embed_tracklets(
    tracklets: Sequence[LabelledTracklet],
    embedder: Embedder,
    *,
    batch_clips: int = 16,
    frames: Frames = "clips",
    clips: Clips = "all",
    hooks: Hooks | None = None,
) -> Embedding:
    """Embed labelled tracklets as the pipeline embeds stored ones.

    Args:
        tracklets: N of them.
        embedder: the model.
        batch_clips: clips that go through the model together.
        frames: "clips": the normalised mean of the unit embeddings of the tracklet's clips, as in use.
            "mean": the normalised mean of the unit embeddings of its frames, each once. An image model
            given clips weighs a frame by the clip it is in, and the last one again as padding.
        clips: "all", or only the frames of the "first" clip.
        hooks: told how many tracklets are embedded.

    Returns:
        (N, D) float32 unit vectors.

    Raises:
        ValueError: a crop cannot be decoded, or the model gives no embedding of a tracklet.
        OSError: a crop cannot be read.
    """
    if batch_clips < 1:
        raise ValueError(f"a batch must have at least 1 clip, not {batch_clips}")
    totals = np.zeros((len(tracklets), embedder.spec.dimension), np.float32)
    size = batch_clips * CLIP_LENGTH if frames == "mean" else batch_clips
    hooks = hooks or Hooks()
    hooks.on_step("tracklets embedded", 0, len(tracklets))
    decoded = _decoded(_cut(tracklets, frames, clips), size)
    while batch := list(islice(decoded, size)):
        rows = unit(embedder.embed([clip for _, clip in batch]))
        for (owner, _), row in zip(batch, rows, strict=True):
            totals[owner] += row
        hooks.on_step("tracklets embedded", batch[-1][0] + 1, len(tracklets))
    embeddings = unit(totals)
    wrong = np.flatnonzero(~np.isfinite(embeddings).all(1))
    if len(wrong):
        raise ValueError(f"{embedder.spec} gives no embedding of {tracklets[wrong[0]].frames[0]}")
    return embeddings


def _cut(
    tracklets: Sequence[LabelledTracklet], frames: Frames, clips: Clips
) -> Iterator[tuple[int, list[Path]]]:
    """Clips with the position of their tracklet; of `frames="mean"`, each frame is a clip of its own."""
    for owner, tracklet in enumerate(tracklets):
        indices = clip_indices(len(tracklet.frames), CLIP_LENGTH)  # (clips, 8)
        if clips == "first":
            indices = indices[:1]
        rows = np.unique(indices)[:, None].tolist() if frames == "mean" else indices.tolist()
        for row in rows:
            yield owner, [tracklet.frames[i] for i in row]


def _decoded(clips: Iterator[tuple[int, list[Path]]], ahead: int) -> Iterator[tuple[int, Clip]]:
    """Clips with decoded frames, in the same order; threads decode up to `ahead` beyond the one given."""
    waiting: deque[tuple[int, Future[Clip]]] = deque()
    with ThreadPoolExecutor(min(_MAX_THREADS, cpu_count() or 1), "decode") as pool:
        try:
            for owner, files in clips:
                waiting.append((owner, pool.submit(_read, files)))
                if len(waiting) > ahead:
                    first, clip = waiting.popleft()
                    yield first, clip.result()
            while waiting:
                first, clip = waiting.popleft()
                yield first, clip.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(files: Sequence[Path]) -> Clip:
    """RGB crops; a file that is repeated is one picture repeated, which image models count once."""
    images = {}
    for file in dict.fromkeys(files):
        image = decode_jpeg(file.read_bytes())  # OpenCV tells the format by its content
        if image is None:
            raise ValueError(f"{file} is damaged and no picture: fetch or render it again")
        images[file] = image
    return [images[file] for file in files]


def _without_copies(dataset: ReidDataset) -> tuple[list[LabelledTracklet], _Rows, _Rows]:
    """Each tracklet once, and the rows of the queries and of the gallery among them."""
    rows: dict[tuple[Path, ...], int] = {}
    unique: list[LabelledTracklet] = []
    for tracklet in (*dataset.gallery, *dataset.query):
        if rows.setdefault(tracklet.frames, len(unique)) == len(unique):
            unique.append(tracklet)
    query, gallery = (
        np.array([rows[tracklet.frames] for tracklet in part], np.int64)
        for part in (dataset.query, dataset.gallery)
    )
    return unique, query, gallery


def _labels(tracklets: Sequence[LabelledTracklet]) -> tuple[_Rows, _Rows]:
    table = np.array([(tracklet.pid, tracklet.camid) for tracklet in tracklets], np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _scoring(
    dataset: ReidDataset, embeddings: Embedding, query_rows: _Rows, gallery_rows: _Rows, rerank: bool
) -> _Score:
    """CMC and mAP of some of the queries in some of the gallery, both given by position."""
    (pids, camids), (gallery_pids, gallery_camids) = map(_labels, (dataset.query, dataset.gallery))
    distances = k_reciprocal_distances(embeddings, query_rows, gallery_rows) if rerank else None

    def score(queries: _Rows, gallery: _Rows) -> tuple[npt.NDArray[np.float64], float]:
        labels = (pids[queries], camids[queries]), (gallery_pids[gallery], gallery_camids[gallery])
        if distances is not None:
            return cmc_map_from_distances(
                distances[np.ix_(queries, gallery)], *labels[0], *labels[1], max_rank=max(RANKS)
            )
        sides = embeddings[query_rows[queries]], embeddings[gallery_rows[gallery]]
        return cmc_map(sides[0], *labels[0], sides[1], *labels[1], max_rank=max(RANKS))

    return score


def _answerable(dataset: ReidDataset, queries: _Rows, gallery: _Rows) -> _Rows:
    """Those of the queries whose person is in the gallery in another camera."""
    cameras: dict[int, set[int]] = defaultdict(set)
    for position in gallery.tolist():
        tracklet = dataset.gallery[position]
        cameras[tracklet.pid].add(tracklet.camid)
    asked = ((position, dataset.query[position]) for position in queries.tolist())
    return np.array([p for p, query in asked if cameras[query.pid] - {query.camid}], np.int64)


def _by_camera_pair(dataset: ReidDataset, score: _Score) -> dict[tuple[int, int], PairResult]:
    (_, camids), (_, gallery_camids) = map(_labels, (dataset.query, dataset.gallery))
    results = {}
    for here, there in product(np.unique(camids).tolist(), np.unique(gallery_camids).tolist()):
        gallery = np.flatnonzero(gallery_camids == there)
        queries = _answerable(dataset, np.flatnonzero(camids == here), gallery)
        if here != there and len(queries):
            cmc, mean_ap = score(queries, gallery)
            results[here, there] = PairResult(len(queries), float(cmc[0]), mean_ap)
    return results
