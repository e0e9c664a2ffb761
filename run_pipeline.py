"""The command line of Retrace: parse, load the configuration, call the library, map errors to exit codes.

Exit codes: 0 done, 1 failed, 2 wrong input. Errors are one line; --debug shows the traceback.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

# Read by OpenCV when it is loaded: no warnings beside our own, and a picture of a few kilobytes may not
# unfold into gigabytes.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**28))

from evaluation.commands import evaluate
from models import weights as weight_files
from pipeline import report
from pipeline.arguments import parse_box, parse_filter, parse_sources, refuse_blanks, spread_values
from pipeline.audit_commands import app as audit_app
from pipeline.audit_commands import note, note_if_possible, note_search
from pipeline.case_commands import app as case_app
from pipeline.commands import adapt, store
from pipeline.config import Config, load_config
from pipeline.export import export as export_tracklets
from pipeline.export import tracklet_json
from pipeline.hooks import Hooks
from pipeline.live.commands import run as run_cameras
from pipeline.plugins import PluginSettings
from pipeline.retention_commands import app as retention_app
from pipeline.retention_commands import erase
from pipeline.terminal import TerminalHooks, show_table
from pipeline.video import VideoSourceError
from pipeline.watch_commands import alerts
from pipeline.watch_commands import app as watch_app
from storage.gallery import Gallery
from storage.records import readable
from synthetic.commands import app as synthesize_app
from training.commands import train
from web.commands import serve
from web.user_commands import app as user_app

app = typer.Typer(
    help="Where else did this person appear? Video of many cameras to a searchable gallery of people.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
weights_app = typer.Typer(
    help="Weights: what there is, what is missing, and how to get it.", no_args_is_help=True
)
app.add_typer(weights_app, name="weights")
app.add_typer(synthesize_app, name="synthesize")
app.add_typer(watch_app, name="watch")
app.add_typer(case_app, name="case")
app.add_typer(audit_app, name="audit")
app.add_typer(user_app, name="user")
app.command()(alerts)
app.add_typer(retention_app, name="retention")
app.command()(erase)
weights_app.command("store")(store)
app.command()(adapt)
app.command()(evaluate)
app.command()(train)
app.command("run")(run_cameras)
app.command()(serve)

_INTERRUPTED = 130  # what typer makes of Ctrl-C
_GO_ON = "interrupted; run the same command again to go on"
GalleryDir = Annotated[Path, typer.Option("--gallery", help="Folder of the gallery.", show_default=False)]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="RETRACE_DATABASE_URL",
        show_envvar=True,
        help="SQLAlchemy URL of a gallery's tables.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file over configs/default.yaml.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="key.sub=value, over the configuration.")]
DetectorWeights = Annotated[str | None, typer.Option(help="A file, or a name of `weights list`.")]
EmbedderName = Annotated[str | None, typer.Option("--embedder", help="Plug-in or variant that embeds clips.")]
EmbedderWeights = Annotated[str | None, typer.Option(help="A file, or a name of `weights list`.")]
TrustWeights = Annotated[bool, typer.Option(help="Load a detector's .pt that has no card: it may run code.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda:0, ... for detector and embedder.")]
Camera = Annotated[str | None, typer.Option(help="This camera only.")]
From = Annotated[str | None, typer.Option("--from", help="ISO 8601; without a zone it is UTC.")]
To = Annotated[str | None, typer.Option("--to", help="ISO 8601; without a zone it is UTC.")]


class ExportFormat(StrEnum):
    """Formats of `export`."""

    mot = "mot"
    json = "json"
    csv = "csv"


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Where else did this person appear? Video of many cameras to a searchable gallery of people."""


@app.command()
def ingest(
    gallery: GalleryDir,
    source: Annotated[
        list[str], typer.Option(help="NAME=URI: camera name and video file, folder or glob of pictures.")
    ],
    start: Annotated[list[str] | None, typer.Option(help="NAME=ISO8601: when a source begins.")] = None,
    config: ConfigFile = None,
    detector_weights: DetectorWeights = None,
    embedder: EmbedderName = None,
    embedder_weights: EmbedderWeights = None,
    set_: Overrides = None,
    database: DatabaseUrl = None,
    trust_weights: TrustWeights = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Find the people in videos and add them to a gallery, which is made when it is not there."""
    from pipeline.ingest import ingest as run_ingest
    from pipeline.ingest import open_sources
    from pipeline.memory import return_large_blocks

    return_large_blocks()
    settings = _config(config, set_, detector_weights, embedder, embedder_weights, trust_weights, device)
    specs = parse_sources(source, start or [])
    if not gallery.exists():
        open_sources(specs, settings)  # wrong input must not leave an empty gallery behind
    # The person index of a gallery stays with its model: without --embedder, that is the one it has.
    with (
        _hooks() as hooks,
        Gallery.open(gallery, url=database or settings.storage.database_url, create=True) as opened,
    ):
        current = opened.generations.current()
        if embedder is None and current is not None and not _names(set_, config, "embedder"):
            settings = settings.replace(embedder=_settings_of(current.spec, device))
        summary = run_ingest(opened, specs, settings, hooks)
    if as_json:
        _print_json(summary.as_json())
        return
    columns = ("camera", "status", "frames", "tracklets", "rejected", "damage")
    rows = [
        (
            s.camera,
            s.status,
            s.frames,
            s.tracklets + s.already_stored,
            _counted(s.rejected),
            _counted(s.damage),
        )
        for s in summary.sources
    ]
    show_table(columns, rows)
    seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in summary.seconds.items())
    typer.echo(f"{summary.tracklets} tracklets added to {gallery}. Seconds: {seconds}.")


@app.command()
def query(
    gallery: GalleryDir,
    tracklet: Annotated[int | None, typer.Option(max=2**63 - 1, help="Id of a stored tracklet.")] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="Picture of the person; several are combined.")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Video to point into with --at and --box.")] = None,
    at: Annotated[float | None, typer.Option(help="Seconds from the start of the video.")] = None,
    box: Annotated[
        list[str] | None, typer.Option(help="x1,y1,x2,y2 in pixels; one for each picture.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many candidates.")] = 20,
    camera: Annotated[
        list[str] | None, typer.Option(help="Search this camera only; may be repeated.")
    ] = None,
    exclude_camera: Annotated[
        list[str] | None, typer.Option(help="Leave this camera out; may be repeated.")
    ] = None,
    from_: From = None,
    to: To = None,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained page.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    detector_weights: DetectorWeights = None,
    database: DatabaseUrl = None,
    trust_weights: TrustWeights = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Ask where else a person appeared: by tracklet, by pictures, or by a box in a video."""
    from pipeline import query as library

    settings = _config(config, set_, detector_weights, None, None, trust_weights, device)
    given = [
        name
        for name, value in (("--tracklet", tracklet), ("--image", image), ("--video", video))
        if value is not None and value != []
    ]
    if len(given) != 1:
        raise ValueError(
            f"a query takes one of --tracklet, --image and --video, got {' and '.join(given) or 'none'}"
        )
    if (given[0] == "--video") != (at is not None):
        raise ValueError("--at belongs to --video: the second of the video that --box points into")
    boxes = [parse_box(text) for text in box or []]
    if boxes and tracklet is not None:
        raise ValueError("--box belongs to --image and --video; a tracklet is searched as it is stored")
    with _hooks() as hooks, _open(gallery, database, settings, write=True) as opened:
        wanted = parse_filter(opened, camera, exclude_camera, from_, to)
        if tracklet is not None:
            asked = library.query_by_tracklet(opened, tracklet)
        elif image:
            asked = library.query_by_images(image, boxes, library.load_embedder(opened, device), settings)
        else:
            assert video is not None
            assert at is not None
            if len(boxes) != 1:
                raise ValueError("--video needs one --box x1,y1,x2,y2 around the person at --at")
            asked = library.query_by_video(
                opened, video, at, boxes[0], library.load_embedder(opened, device), settings, hooks
            )
        answer = library.search(opened, asked, top_k, wanted)
        note_search(opened, answer, page=html is not None)
        if html is not None:
            report.write_html(answer, html)
    if as_json:
        _print_json(report.answer_json(answer))
        return
    if answer.fallback:
        hooks.on_note(answer.fallback)
    columns = ("rank", "tracklet", "camera", "start", "end", "similarity", "thumbnail")
    rows = [tuple(match[column] for column in columns) for match in report.answer_json(answer)["matches"]]
    if rows:
        show_table(columns, rows)
        typer.echo(f"Compared by {answer.spec}.")
    else:
        typer.echo("No tracklet in the gallery passes these filters.")
    if html is not None:
        typer.echo(f"The page is {html.resolve()}")


@app.command()
def tracklets(
    gallery: GalleryDir,
    camera: Camera = None,
    from_: From = None,
    to: To = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """List the tracklets of a gallery by time."""
    with _open(gallery, database) as opened:
        wanted = parse_filter(opened, None if camera is None else [camera], None, from_, to)
        listed = [tracklet_json(record) for record in opened.tracklets(wanted)]
    if as_json:
        _print_json(listed)
        return
    columns = ("id", "camera", "start", "end", "num_frames", "quality", "thumbnail")
    show_table(columns, [tuple(record[column] for column in columns) for record in listed])
    typer.echo(f"{len(listed)} tracklets")


@app.command()
def reindex(
    gallery: GalleryDir,
    embedder: EmbedderName = None,
    embedder_weights: EmbedderWeights = None,
    status: Annotated[bool, typer.Option("--status", help="Show the generations of embeddings.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the previous generation.")] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    database: DatabaseUrl = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Embed the whole gallery anew with another model, beside the old one, then switch."""
    from pipeline import reindex as library
    from pipeline.embedding import build_embedder

    if (embedder is not None) + status + rollback != 1:
        raise ValueError("reindex takes one of --embedder NAME, --status and --rollback")
    if status:
        with _open(gallery, database) as opened:
            rows = library.status(opened)
        if as_json:
            _print_json(rows)
        else:
            columns = ("generation", "status", "embedder", "embeddings", "missing")
            show_table(columns, [tuple(_plain(row[column]) for column in columns) for row in rows])
        return
    with _hooks() as hooks, _open(gallery, database, write=True) as opened:
        if rollback:
            current = opened.generations.roll_back()
            note(opened, "re-index rolled back", {"embedder": str(current.spec)})
            missing = opened.generations.num_missing(current.id)
            if missing:
                hooks.on_note(
                    f"{missing} tracklets have no embedding by {current.spec.name} and will not be found; "
                    f"run reindex --embedder {current.spec.name} to add them"
                )
            result: dict[str, Any] = {
                "generation": current.id,
                "embedder": str(current.spec),
                "missing": missing,
            }
            text = f"Queries use {current.spec} again."
        else:
            settings = _config(config, set_, None, embedder, embedder_weights, False, device)
            model = build_embedder(settings.embedder)
            if model.fallback:
                hooks.on_note(model.fallback)
            note(opened, "re-index", {"embedder": str(model.spec)})
            summary = library.reindex(opened, model, settings.batch, hooks)
            result = summary.as_json()
            note(opened, "re-index done", result)
            text = (
                f"{summary.tracklets} tracklets, {summary.embedded} embedded now by {summary.embedder} in "
                f"{summary.seconds:.1f} s, {summary.not_embeddable} could not be; {summary.sampled} sampled "
                "ones match themselves. Queries use the new embeddings (undo with reindex --rollback)."
            )
            text = f"{text} {summary.lost_words('reindex --rollback')}".strip()
    _print_json(result) if as_json else typer.echo(text)


@app.command()
def export(
    gallery: GalleryDir,
    format_: Annotated[
        ExportFormat, typer.Option("--format", help="mot: boxes of one source; json: all; csv: no boxes.")
    ],
    out: Annotated[Path, typer.Option(help="File to write.")],
    camera: Camera = None,
    database: DatabaseUrl = None,
) -> None:
    """Write tracklets to a file for other tools."""
    with _open(gallery, database, write=True) as opened:
        count = export_tracklets(opened, format_.value, out, camera)
        told = {"format": format_.value, "camera": camera, "tracklets": count, "file": readable(out.name)}
        note_if_possible(opened, "export", told)
    typer.echo(f"{count} tracklets written to {out}")


@app.command()
def info(
    gallery: Annotated[Path | None, typer.Option("--gallery", help="Folder of a gallery.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="A variant of the STE-NVAN family.")] = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Say what is installed, what a gallery holds, or what a model costs."""
    from pipeline import inventory

    facts: dict[str, Any] = {}
    if gallery is not None:
        with _open(gallery, database) as opened:
            facts["gallery"] = inventory.of_gallery(opened)
    if model is not None:
        facts["model"] = inventory.of_model(model)
    if not facts:
        facts["installation"] = inventory.of_installation()
    if as_json:
        _print_json(facts)
        return
    for title, values in facts.items():
        show_table((title, ""), [(key, _plain(value)) for key, value in values.items()])


@app.command()
def demo(
    video: Annotated[Path | None, typer.Option(help="Video to use; default: three rendered cameras.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
) -> None:
    """Ingest three cameras, or two cut from one video, and ask where else one person appeared."""
    from pipeline.demo import run_demo

    with _hooks() as hooks:
        page = run_demo(out, video, load_config(), hooks)
    typer.echo(f"The page is {page.resolve()}")


@weights_app.command("list")
def weights_list(as_json: Json = False) -> None:
    """Every weight with a card, and whether it is on this machine."""
    from pipeline import inventory

    rows = inventory.of_weights()
    if as_json:
        _print_json(rows)
        return
    columns = ("name", "kind", "licence", "here", "measured")
    show_table(columns, [tuple(_plain(row[column]) for column in columns) for row in rows])


@weights_app.command("show")
def weights_show(name: str, as_json: Json = False) -> None:
    """The card of a weight."""
    card = json.loads(weight_files.card(name).to_json())
    if as_json:
        _print_json(card)
    else:
        show_table((name, ""), [(key, _plain(value)) for key, value in card.items()])


@weights_app.command("fetch")
def weights_fetch(
    name: Annotated[
        str | None, typer.Argument(help="Name of `weights list`; default: this machine's detector.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Fetch again what is here already.")] = False,
) -> None:
    """Download a weight into the cache folder and check its hash."""
    from pipeline.detectors.yolo import default_weights

    with _hooks() as hooks:
        path = weight_files.fetch(name or default_weights(None), progress=hooks.on_note, force=force)
    typer.echo(str(path))


@weights_app.command("import")
def weights_import(
    path: Path,
    name: Annotated[str | None, typer.Option(help="Name of the card; default: the file's.")] = None,
    kind: Annotated[str, typer.Option(help="detector or embedder")] = "detector",
    licence: Annotated[str | None, typer.Option(help="SPDX expression.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it comes from.")] = None,
    trust_weights: TrustWeights = False,
) -> None:
    """Copy a weight file into the cache folder and give it a card."""
    card = weight_files.import_weights(
        path, name=name, kind=kind, licence=licence, source=source, trust=trust_weights
    )
    typer.echo(f"{card.name}: {weight_files.cache_folder() / card.file}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the one place where errors become exit codes."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = spread_values([argument for argument in given if argument != "--debug"])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name need not be text that can be encoded
            stream.reconfigure(errors="backslashreplace")
    try:
        refuse_blanks(given)
        code = app(given, standalone_mode=False, prog_name="run_pipeline.py")
        sys.stdout.flush()
        if code == _INTERRUPTED:
            return _fail(_GO_ON, 1, debug)
        return code if isinstance(code, int) else 0
    except typer.Exit as leave:
        return leave.exit_code
    except KeyboardInterrupt:
        return _fail(_GO_ON, 1, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the outermost frame: every error ends as one line and a code
        if hasattr(error, "format_message"):  # click's own: an unknown option, a missing value
            text = error.format_message()
            if text.startswith("Usage:"):  # no command was given: its help
                typer.echo(text, err=True)
                return 2
            return _fail(" ".join(text.split()), 2, debug)
        return _fail(_one_line(error), 2 if _is_wrong_input(error) else 1, debug)


def _is_wrong_input(error: Exception) -> bool:
    return isinstance(
        error, ValueError | FileNotFoundError | VideoSourceError | NotADirectoryError | IsADirectoryError
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split()) or type(error).__name__
    return (
        text if isinstance(error, ValueError | OSError | ImportError) else f"{type(error).__name__}: {text}"
    )


def _fail(text: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    typer.echo(f"retrace: {text}", err=True)
    return code


def _config(
    path: Path | None,
    overrides: list[str] | None,
    detector_weights: str | None,
    embedder: str | None,
    embedder_weights: str | None,
    trust_weights: bool,
    device: str | None,
) -> Config:
    """The configuration with the options that have flags of their own on top."""
    from pipeline.embedding import named_embedder, on_device

    config = load_config(path, overrides or [], named_embedder(embedder) if embedder else None)
    detector = config.detector
    if detector.name == "yolo":
        detector = detector.updated(
            weights=detector_weights, trust_weights=trust_weights or None, device=device
        )
    elif detector_weights is not None:
        raise ValueError(f"--detector-weights belongs to the detector yolo, not to {detector.name}")
    model = on_device(config.embedder.updated(weights=embedder_weights), device)
    return config.replace(detector=detector, embedder=model)


def _settings_of(spec: Any, device: str | None) -> PluginSettings:
    from pipeline.embedding import on_device, settings_of

    return on_device(settings_of(spec), device)


def _names(overrides: list[str] | None, path: Path | None, block: str) -> bool:
    """Whether the user chose that block, as opposed to the defaults."""
    in_file = path is not None and load_config(path).model_dump()[block] != load_config().model_dump()[block]
    return in_file or any(text.startswith(f"{block}.") for text in overrides or [])


@contextmanager
def _hooks() -> Iterator[Hooks]:
    with TerminalHooks() as hooks:
        yield hooks


def _open(folder: Path, url: str | None, config: Config | None = None, write: bool = False) -> Gallery:
    url = url or (config.storage.database_url if config else None)
    return Gallery.open(folder, url=url, read_only=not write)


def _print_json(value: Any) -> None:
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    typer.echo(json.dumps(value, ensure_ascii=not is_utf8, indent=2))


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in counts.items()) or "-"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, list):
        return "\n".join(str(_plain(inner)) for inner in value) or "-"
    return "-" if value is None else value


if __name__ == "__main__":
    sys.exit(main())
