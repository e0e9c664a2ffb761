"""The command `train`; the libraries it needs are imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from evaluation.datasets import ReidDataset
    from pipeline.hooks import Hooks
    from training.clips import TrainingSet
    from training.distil import Teacher


def train(
    data: Annotated[
        list[str], typer.Option(help="NAME=ROOT[?split=2&holdout=50]: a data set; several are joined.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the run; one that is there already goes on.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Recipe; default: configs/train.yaml.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value, over the recipe; stages.0.steps=100.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="A variant of the STE-NVAN family.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="torchvision's ResNet-50 of ImageNet, or part of it.")
    ] = None,
    init_from: Annotated[Path | None, typer.Option(help="A Retrace checkpoint to begin with.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0, help="Stop training and save after so long, with exit code 75; go on by the same command."
        ),
    ] = None,
    evaluate: Annotated[
        list[str] | None,
        typer.Option(help="NAME=ROOT[?split=2]: evaluate on it now and then; may be repeated."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for decoded crops and teacher features; reused by other runs.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Embedder whose embeddings are an additional target.")
    ] = None,
    teacher_weights: Annotated[str | None, typer.Option(help="A file, or a name of `weights list`.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda:0, ...; default: the GPU if any.")] = None,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard events.")] = True,
) -> None:
    """Train an embedding network on labelled tracklets; stops and goes on at any step."""
    from time import monotonic

    deadline = None if minutes is None else monotonic() + 60 * minutes

    from pipeline.device import choose_device
    from pipeline.terminal import TIME_IS_UP, TerminalHooks
    from training.clips import join
    from training.recipe import load_recipe
    from training.train import Job
    from training.train import train as run_training

    for flag, folder in (("--output", output), ("--cache", cache)):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ValueError(f"{flag} {folder} is a file: give a folder")
    if init is not None and init_from is not None:
        raise ValueError("training begins with --init or with --init-from, not with both")
    recipe = load_recipe(config, set_ or [], variant)
    if teacher is not None and not recipe.losses.need_teacher:
        raise ValueError("the recipe's losses use no teacher: take configs/train_distilled.yaml")
    device = choose_device(device)
    training_set = join(_load_all(data, "--data"))
    evaluations = tuple(_load_all(evaluate or [], "--evaluate"))
    with TerminalHooks() as hooks:
        hooks.on_note(_described(training_set))
        packed = None
        if cache is not None:
            from training.packed import pack

            height, width = (max(getattr(s, side) for s in recipe.stages) for side in ("height", "width"))
            packed = pack(training_set.files, height, width, cache, hooks)
        features = _teacher(teacher, teacher_weights, training_set, cache or output, hooks)
        outcome = run_training(
            Job(
                recipe, training_set, output, device, init, init_from, packed, features, evaluations,
                deadline, tensorboard,
            ),
            hooks,
        )  # fmt: skip
    typer.echo(f"{outcome.step} of {outcome.num_steps} steps, {outcome.seconds:.0f} s: {outcome.model}")
    if outcome.step < outcome.num_steps:
        typer.echo("The time is up; run the same command again to go on.")
        raise typer.Exit(TIME_IS_UP)


def _load_all(texts: Sequence[str], flag: str) -> list[ReidDataset]:
    from evaluation.datasets import load

    datasets = []
    for text in texts:
        name, equals, place = text.partition("=")
        root, _, query = place.partition("?")
        options = [option.partition("=") for option in query.split("&") if option]
        if not equals or not name.strip() or not root.strip() or not all(v.isdigit() for _, _, v in options):
            raise ValueError(f"{flag} takes NAME=ROOT or NAME=ROOT?split=2&holdout=50, got '{text}'")
        datasets.append(load(name.strip(), Path(root), **{key: int(value) for key, _, value in options}))
    return datasets


def _teacher(
    name: str | None, weights: str | None, training_set: TrainingSet, folder: Path, hooks: Hooks
) -> Teacher | None:
    if name is None:
        if weights is not None:
            raise ValueError("--teacher-weights belongs to --teacher NAME")
        return None
    from models.weights import MissingWeights
    from pipeline.embedding import build_embedder, named_embedder
    from training.distil import compute_teacher

    try:
        embedder = build_embedder(named_embedder(name).updated(weights=weights))
    except MissingWeights as error:
        raise ValueError(f"the teacher {name} needs --teacher-weights") from error
    return compute_teacher(embedder, training_set.files, folder, hooks)


def _described(training_set: TrainingSet) -> str:
    summary = training_set.summary()
    parts = (f"{summary[what]} {what}" for what in ("identities", "cameras", "tracklets", "crops"))
    return f"{' + '.join(training_set.names)}: {', '.join(parts)}"
