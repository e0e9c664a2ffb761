"""What each part of the training is worth: short runs that differ in one thing, evaluated on real people.

    python benchmarks/ablations.py --tracklets RENDERED --market MARKET --init IMAGENET --teacher 0277.xml \\
        --output runs/ablations [--steps 500]

Each run takes `--steps` steps of `configs/train_pictures_cpu.yaml` from the early stages of ImageNet,
whatever it is given to see, with the same seed. None is trained out: read the differences. Runs that are
there already are not repeated. With `--weights` a model of clips is also asked with every frame of a tracklet
and with its middle one alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from evaluation.datasets import LabelledTracklet, ReidDataset, load
from evaluation.reid import Frames, ReidResult, evaluate
from models.checkpoint import load_model
from pipeline.embedding import build_embedder, named_embedder
from pipeline.hooks import Hooks
from pipeline.terminal import TerminalHooks
from training.clips import join
from training.distil import compute_teacher
from training.evaluations import ModelEmbedder
from training.packed import pack
from training.recipe import load_recipe
from training.train import Job, train

PEOPLE, CAMERAS = 1500, 4  # of the run that the others are compared with
BARE = ("colour_p=0", "low_resolution_p=0", "blur_p=0", "sharpen_p=0", "erase_p=0", "shift=0", "zoom=[1,1]")
TEACHER = ("losses.relational=1", "losses.relational_smooth_l1=1", "losses.direct=2")
# Name: (people, cameras of each, changes of the recipe)
RUNS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "base": (PEOPLE, CAMERAS, ()),
    "a quarter of the people": (PEOPLE // 4, CAMERAS, ()),
    "two cameras a person": (PEOPLE, 2, ()),
    "no augmentation but flips": (PEOPLE, CAMERAS, tuple(f"augmentation.{change}" for change in BARE)),
    "contrastive loss alone": (PEOPLE, CAMERAS, ("losses.identity=0",)),
    "with the teacher": (PEOPLE, CAMERAS, TEACHER),
}


def main() -> None:
    """Train, evaluate, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("market", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tracklets", type=Path, help="rendered people; without them nothing is trained")
    parser.add_argument("--init", type=Path, help="torchvision's ResNet-50 of ImageNet, or part of it")
    parser.add_argument("--teacher", help="an OpenVINO re-ID .xml; without it that run is left out")
    parser.add_argument("--weights", type=Path, help="a model of clips, for 8 frames against 1")
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    market = load("market1501", arguments.market)
    print("| run | Rank-1 | Rank-5 | mAP |\n|---|---|---|---|")
    with TerminalHooks() as hooks:
        for name, (people, cameras, changes) in RUNS.items() if arguments.tracklets else ():
            if arguments.teacher or changes != TEACHER:
                result = arguments.output / f"{name.replace(' ', '_')}.json"
                if not result.exists():
                    model = _trained(arguments, name, people, cameras, changes, hooks)
                    result.write_text(json.dumps(_evaluated(model, market, "mean", hooks).as_json()))
                _print_row(name, json.loads(result.read_text()))
        if arguments.weights:
            for name, tested in (("clips of 8 frames", market), ("the middle frame alone", _middle(market))):
                _print_row(name, _evaluated(arguments.weights, tested, "clips", hooks).as_json())


def _trained(
    arguments: argparse.Namespace,
    name: str,
    people: int,
    cameras: int,
    changes: Sequence[str],
    hooks: Hooks,
) -> Path:
    changes = (*changes, "log_every=50", "evaluate_every=1000000", f"stages.0.steps={arguments.steps}")
    recipe = load_recipe(ROOT / "configs/train_pictures_cpu.yaml", changes)
    recipe = recipe.model_copy(update={"stages": recipe.stages[:1]})
    rendered = load("synthetic", arguments.tracklets)
    part = join([replace(rendered, train=_part(rendered.train, people, cameras))])
    stage, teacher = recipe.stages[0], None
    if recipe.losses.need_teacher:
        embedder = build_embedder(named_embedder("openvino_reid").updated(weights=arguments.teacher))
        teacher = compute_teacher(embedder, part.files, arguments.output, hooks)
    packed = pack(part.files, stage.height, stage.width, arguments.output, hooks)
    folder = arguments.output / name.replace(" ", "_")
    return train(
        Job(recipe, part, folder, imagenet=arguments.init, packed=packed, teacher=teacher), hooks
    ).model


def _part(tracklets: Sequence[LabelledTracklet], people: int, cameras: int) -> tuple[LabelledTracklet, ...]:
    """The first people, each in the first cameras that saw them."""
    by_person: dict[int, list[LabelledTracklet]] = defaultdict(list)
    for tracklet in sorted(tracklets, key=lambda t: (t.pid, t.camid)):
        by_person[tracklet.pid].append(tracklet)
    if len(by_person) < people:
        sys.exit(f"the rendered set has {len(by_person)} people and {people} are needed: render more")
    chosen = list(by_person.values())[:people]
    return tuple(tracklet for seen in chosen for tracklet in seen[:cameras])


def _middle(dataset: ReidDataset) -> ReidDataset:
    """Every tracklet cut to its middle frame."""

    def cut(tracklets: Sequence[LabelledTracklet]) -> tuple[LabelledTracklet, ...]:
        return tuple(replace(t, frames=t.frames[len(t.frames) // 2 :][:1]) for t in tracklets)

    return replace(dataset, query=cut(dataset.query), gallery=cut(dataset.gallery))


def _evaluated(weights: Path, dataset: ReidDataset, frames: Frames, hooks: Hooks) -> ReidResult:
    model = load_model(weights).eval()
    embedder = ModelEmbedder(model, model.preprocessing, torch.bfloat16)
    return evaluate(dataset, embedder, batch_clips=4, frames=frames, hooks=hooks)


def _print_row(name: str, result: dict[str, float]) -> None:
    values = " | ".join(f"{100 * result[key]:.1f}" for key in ("rank1", "rank5", "mAP"))
    print(f"| {name} | {values} |", flush=True)


if __name__ == "__main__":
    main()
