"""Compares the six variants, the metrics and the sampling with the numbers of the released STE-NVAN code.

    python benchmarks/golden.py --golden ../shared/golden

Prints a Markdown table per kind. The weights are made by a formula, so no checkpoint is needed.
"""

import argparse
import json
import platform
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from evaluation.metrics import cmc_map
from models.checkpoint import to_official
from models.complexity import count_multiply_adds, count_parameters
from models.preprocess import sample_frame_indices
from models.ste_nvan import VARIANTS, EmbeddingModel, build
from training.losses import soft_margin_batch_hard_triplet


def formula_tensor(key: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """The weight that the golden numbers were computed with, by its official key and shape."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    random = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    z = random.standard_normal(size=shape).astype(np.float32)
    if key.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif len(shape) == 1:
        z = 1 + 0.1 * z if key.endswith(".weight") else 0.1 * z
    else:
        z *= np.float32(np.sqrt(1 / np.prod(shape[1:])))
    return torch.from_numpy(z)


def formula_model(variant: str, seed: int) -> EmbeddingModel:
    """A variant with the formula's weights, in eval mode."""
    model = build(variant).eval()
    ours = to_official(model)  # views of the model's own tensors: writing to them writes the weights
    with torch.no_grad():
        for key, tensor in ours.items():
            tensor.copy_(formula_tensor(key, tuple(tensor.shape), seed))
    return model


def golden_clips(seed: int) -> torch.Tensor:
    """`(2, 8, 3, 256, 128)` input of the golden embeddings."""
    z = np.random.RandomState(seed).standard_normal((2, 8, 3, 16, 8)).astype(np.float32)
    return torch.from_numpy(z.repeat(16, axis=3).repeat(16, axis=4))


def median_ms(action: Callable[[], object], repeats: int = 5) -> float:
    """Median wall-clock milliseconds of `repeats` runs, after one to warm up."""
    action()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1000


@torch.inference_mode()
def variant_row(variant: str, golden: dict[str, np.ndarray]) -> str:
    """One line of the table of variants."""
    seed = int(golden["seed"])
    model, clips, want = formula_model(variant, seed), golden_clips(seed), torch.from_numpy(golden[variant])
    ours = model(clips)
    error = float((ours - want).norm() / want.norm())
    cosines = []
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            cosines.append(float(torch.cosine_similarity(model(clips).float(), want).min()))
    gmac = count_multiply_adds(model) / 1e9
    parameters = count_parameters(model) / 1e6
    ms = median_ms(lambda: model(clips[:1]))
    with torch.autocast("cpu", torch.bfloat16):
        ms_bfloat16 = median_ms(lambda: model(clips[:1]))
    return (
        f"| {variant} | {error:.1e} | {cosines[0]:.6f} | {cosines[1]:.6f} | {gmac:.2f} | {parameters:.2f} "
        f"| {ms:.0f} | {ms_bfloat16:.0f} |"
    )


def main() -> None:
    """Reads the golden folder and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, default=Path("../shared/golden"), metavar="DIR")
    folder = parser.parse_args().golden
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor() or 'CPU'}\n")
    print(
        "| variant | relative error float32 | cosine bfloat16 | cosine float16 | multiply-adds (G) "
        "| parameters (M) | ms per clip float32 | ms bfloat16 |\n|---|---|---|---|---|---|---|---|"
    )
    golden = dict(np.load(folder / "embeddings.npz"))
    for variant in VARIANTS:
        print(variant_row(variant, golden), flush=True)

    table = np.load(folder / "evaluation.npz")
    features, ids, cams, rows = (table[k] for k in ("features", "ids", "cams", "query_index"))
    cmc, mean_ap = cmc_map(features[rows], ids[rows], cams[rows], features, ids, cams)
    triplet = np.load(folder / "triplet_soft_batch_hard.npz")
    loss = soft_margin_batch_hard_triplet(
        torch.from_numpy(triplet["features"]), torch.from_numpy(triplet["labels"])
    )
    rrs = json.loads((folder / "rrs.json").read_text())
    wrong = 0
    for case, want in rrs.items():
        length, frames = map(int, case.split("/"))
        wrong += sample_frame_indices(frames, length).tolist() != want["test"]
    print("\n| what | difference |\n|---|---|")
    print(f"| CMC, ranks 1 to 20 | {np.abs(cmc - table['cmc']).max():.1e} |")
    print(f"| mAP | {abs(mean_ap - float(table['mAP'])):.1e} |")
    print(f"| triplet loss per anchor | {np.abs(loss.numpy() - triplet['loss_per_anchor']).max():.1e} |")
    print(f"| RRS, cases that differ | {wrong} of {len(rrs)} |")


if __name__ == "__main__":
    main()
