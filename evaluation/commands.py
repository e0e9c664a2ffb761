"""The command `evaluate`; the libraries it needs are imported when it runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from evaluation.reid import ReidResult
    from pipeline.plugins import PluginSettings


class ClipChoice(StrEnum):
    """Which clips of a tracklet are embedded."""

    all = "all"
    first = "first"


def evaluate(
    dataset: Annotated[str, typer.Option(help="mars, market1501, ...: a file of evaluation/datasets.")],
    root: Annotated[Path, typer.Option(help="Folder of the data set.")],
    embedder: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME=WEIGHTS; several fill one table. Default: by the weights."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", "--embedder-weights", help="A file, or a name of `weights list`."),
    ] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="k-reciprocal re-ranking (Zhong, 2017).")] = False,
    split: Annotated[int | None, typer.Option(help="Split of ilids_vid and prid2011, from 0.")] = None,
    holdout: Annotated[
        int | None, typer.Option(help="People of a synthetic set without bbox_test to test with.")
    ] = None,
    clips: Annotated[
        ClipChoice, typer.Option(help="all clips of a tracklet, or the first, as in the paper.")
    ] = ClipChoice.all,
    device: Annotated[str | None, typer.Option(help="cpu, cuda:0, ...; default: the GPU if any.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Clips that go through the model together.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the JSON to this file, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Measure how well an embedder finds people in a labelled data set: Rank-k, mAP, per camera pair."""
    from evaluation.datasets import load
    from evaluation.reid import evaluate as run_evaluation
    from pipeline.config import load_config
    from pipeline.embedding import build_embedder
    from pipeline.terminal import TerminalHooks

    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise ValueError(f"--output {output} must be a file in a folder that is there")
    names = embedder or [""]
    if weights is not None and len(names) > 1:
        raise ValueError("--weights belongs to one embedder: write --embedder NAME=WEIGHTS for each")
    chosen = [_chosen(name, weights, device) for name in names]
    loaded = load(dataset, root, split=split, holdout=holdout)
    if not loaded.query:
        raise ValueError(f"{dataset} in {root} has no queries; a synthetic set needs bbox_test or --holdout")
    models = [build_embedder(settings) for settings in chosen]
    results = []
    with TerminalHooks() as hooks:
        for note in (*loaded.notes, *filter(None, [model.fallback for model in models])):
            hooks.on_note(note)
        for model in models:
            result = run_evaluation(
                loaded,
                model,
                batch_clips=batch or load_config().batch.clips,
                frames="clips" if model.of_clips else "mean",
                clips=clips.value,
                rerank=rerank,
                hooks=hooks,
            )
            results.append(result)
    values = [result.as_json() for result in results]
    text = json.dumps(values if len(values) > 1 else values[0], indent=2)
    if output is not None:
        output.write_text(text + "\n", encoding="utf-8")
    typer.echo(text) if as_json else _show(results, names)


def _chosen(choice: str, weights: str | None, device: str | None) -> PluginSettings:
    """The embedder asked for by name, else by the form of the weights, else the configuration's."""
    from pipeline.config import check_plugins, load_config
    from pipeline.embedding import named_embedder, on_device
    from pipeline.plugins import PluginSettings

    config = load_config()
    settings = config.embedder
    name, _, own = choice.partition("=")
    weights = own or weights
    if name:
        settings = named_embedder(name)
    elif weights is not None:
        settings = PluginSettings(name="openvino_reid" if weights.endswith(".xml") else "ste_nvan")
    settings = on_device(settings.updated(weights=weights), device)
    check_plugins(config.replace(embedder=settings))
    return settings


def _show(results: Sequence[ReidResult], names: Sequence[str]) -> None:
    from pipeline.terminal import show_table

    ranks = [f"Rank-{k}" for k in results[0].rank]
    columns = ("embedder", *ranks, "mAP", "queries", "gallery", "seconds")
    rows = [
        (
            _label(name, result),
            *map(_percent, (*result.rank.values(), result.mean_ap)),
            result.num_answerable,
            result.num_gallery,
            f"{result.seconds:.1f}",
        )
        for name, result in zip(names, results, strict=True)
    ]
    show_table(columns, rows)
    for result in results:
        _show_pairs(result)


def _label(name: str, result: ReidResult) -> str:
    """An embedder as it was asked for, with the file of its weights."""
    plugin, _, weights = name.partition("=")
    return f"{plugin} {Path(weights).name}".strip() if plugin else result.embedder.partition(" (")[0]


def _show_pairs(result: ReidResult) -> None:
    from pipeline.terminal import show_table

    columns = ("query camera", "gallery camera", "queries", "Rank-1", "mAP")
    rows = [
        (here, there, pair.num_query, _percent(pair.rank1), _percent(pair.mean_ap))
        for (here, there), pair in result.per_camera_pair.items()
    ]
    show_table(columns, rows)
    frames = "mean of frames" if result.method["frames"] == "mean" else f"{result.method['clips']} clips"
    reranked = ", re-ranked" if result.method["rerank"] else ""
    typer.echo(f"{result.dataset}, per cent, {frames}{reranked}, by {result.embedder}.")


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"
