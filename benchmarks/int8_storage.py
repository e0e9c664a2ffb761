"""What storing weights as float16 or int8 changes: the file's size, the embeddings, Rank-1 and mAP.

    python benchmarks/int8_storage.py --weights FILE.safetensors [--crops DIR] [--clips 64]
        [--dataset market1501 --root DIR]

FILE is a checkpoint in float32. Without --weights: random ones, which show the size and little else. A clip
is eight neighbouring pictures below DIR by file name; without --crops, a painted person. Cosines are between
the embeddings of a clip by the float32 and by the stored file; the centred ones after subtracting the mean
embedding of all clips, which leaves what tells one person from another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import torch

from models.checkpoint import OWN_KEYS, Storage, load_model, read_metadata, save_checkpoint
from models.ste_nvan import EmbeddingModel, build
from pipeline.embedding import Clip, build_embedder, unit
from pipeline.plugins import PluginSettings
from pipeline.types import CLIP_LENGTH

_PICTURES = (".jpg", ".jpeg", ".png")


def original(weights: Path | None) -> tuple[EmbeddingModel, dict[str, object]]:
    """The network in full precision, and what its file says beside."""
    if weights is None:
        return build("ste_nvan", generator=torch.Generator().manual_seed(0)).eval(), {}
    metadata = read_metadata(weights)
    if metadata.get("storage", "float32") != "float32":
        raise SystemExit(f"{weights} is stored as {metadata['storage']} already: give the float32 checkpoint")
    return load_model(weights), {key: value for key, value in metadata.items() if key not in OWN_KEYS}


def clips_of(folder: Path | None, number: int, rng: np.random.Generator) -> Iterator[Clip]:
    """Clips of eight crops, each `(H, W, 3) uint8` RGB."""
    if folder is None:
        yield from (painted_clip(rng) for _ in range(number))
        return
    import cv2

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    if len(files) < CLIP_LENGTH:
        raise SystemExit(f"{folder} holds {len(files)} pictures, {CLIP_LENGTH} are needed")
    for first in rng.integers(0, len(files) - CLIP_LENGTH + 1, number).tolist():
        yield [cv2.imread(str(path))[..., ::-1] for path in files[first : first + CLIP_LENGTH]]


def painted_clip(rng: np.random.Generator) -> Clip:
    """A person in random colours who moves, with noise."""
    from painted import Painted, paint

    top, trousers = (tuple(rng.integers(0, 256, 3).tolist()) for _ in range(2))
    person = Painted(top, trousers, float(rng.integers(2, 8)), float(rng.integers(0, 6)), 0.7, height=118)
    pictures = (paint([person], frame, 60, 124) for frame in range(CLIP_LENGTH))
    return [np.clip(p + rng.normal(0, 8, p.shape), 0, 255).astype(np.uint8) for p in pictures]


def cosines(one: np.ndarray, other: np.ndarray) -> str:
    """Mean and lowest cosine of `(N, D)` with `(N, D)`, row by row, as two cells of a table."""
    found = (unit(one) * unit(other)).sum(1)
    return f"{found.mean():.6f} | {found.min():.6f}"


def main() -> None:
    """Stores the network in each way and prints a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--crops", type=Path)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--dataset")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--device", default=None)
    options = parser.parse_args()
    if (options.dataset is None) != (options.root is None):
        parser.error("--dataset NAME and --root DIR belong together")
    model, metadata = original(options.weights)
    clips = list(clips_of(options.crops, options.clips, np.random.default_rng(0)))
    print(
        "| storage | MB | error of the worst weight | cosine mean | lowest | centred mean | lowest "
        "| same nearest clip | Rank-1 | mAP |"
    )
    print("|---" * 10 + "|")
    exact: np.ndarray | None = None
    with tempfile.TemporaryDirectory() as folder:
        for storage in get_args(Storage):
            path = Path(folder) / f"{storage}.safetensors"
            save_checkpoint(model, path, metadata, storage=storage)
            settings = {"name": "ste_nvan", "weights": str(path), "device": options.device, "half": False}
            embedder = build_embedder(PluginSettings.model_validate(settings))
            found = np.concatenate([embedder.embed([clip]) for clip in clips])
            exact = found if exact is None else exact
            error = read_metadata(path)["storage_error"]
            retrieval = "- | -"
            if options.dataset is not None:
                from evaluation.datasets import load
                from evaluation.reid import evaluate

                result = evaluate(load(options.dataset, options.root), embedder)
                retrieval = f"{100 * result.rank[1]:.2f} | {100 * result.mean_ap:.2f}"
            print(
                f"| {storage} | {path.stat().st_size / 1e6:.2f} | {error:.1e} | {cosines(found, exact)} "
                f"| {cosines(found - exact.mean(0), exact - exact.mean(0))} "
                f"| {same_nearest(found, exact):.3f} | {retrieval} |",
                flush=True,
            )


def same_nearest(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the N clips whose most similar other clip is the same in both."""
    nearest = []
    for rows in (unit(one), unit(other)):
        similarity = rows @ rows.T
        np.fill_diagonal(similarity, -np.inf)
        nearest.append(similarity.argmax(1))
    return float((nearest[0] == nearest[1]).mean())


if __name__ == "__main__":
    main()
