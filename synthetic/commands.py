"""The commands `synthesize tracklets|world|frames`; the libraries they need are imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from synthetic.contact_sheet import Image
    from synthetic.shards import Rendered

app = typer.Typer(
    help="Render people who do not exist: labelled tracklets, multi-camera video, frames for detectors.",
    no_args_is_help=True,
)

Assets = Annotated[
    Path,
    typer.Option(
        envvar="RETRACE_PEOPLE_ASSETS",
        show_envvar=True,
        help="Folder of the people pack: characters.csv, *.glb, panoramas (docs/synthetic.md).",
    ),
]
Output = Annotated[Path, typer.Option(help="Folder to fill; the same command again goes on.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed renders the same pictures.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")]
Minutes = Annotated[
    float | None, typer.Option(min=0, help="Stop after so long, with exit code 75; run again to go on.")
]


@app.command()
def tracklets(
    assets: Assets,
    output: Output,
    people: Annotated[int, typer.Option(min=1, help="Identities.")] = 3000,
    cameras: Annotated[int, typer.Option(min=2, max=9, help="Cameras of each world.")] = 6,
    seen_by: Annotated[int, typer.Option(min=2, max=9, help="Cameras that see each person.")] = 4,
    frames: Annotated[int, typer.Option(min=1, help="Crops a tracklet.")] = 8,
    test_share: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of faces kept for bbox_test.")
    ] = 0.0,
    seed: Seed = 0,
    workers: Workers = None,
    minutes: Minutes = None,
) -> None:
    """Labelled tracklets of one person each, 256x128 crops in the layout of MARS, and a contact sheet."""
    from time import perf_counter

    from pipeline.terminal import TerminalHooks
    from synthetic.contact_sheet import tracklet_rows
    from synthetic.tracklets import TrackletPlan, write_tracklets

    plan = TrackletPlan(people, cameras, seen_by, frames, seed, test_share)
    begin = perf_counter()
    with TerminalHooks() as hooks:
        rendered = write_tracklets(assets, output, plan, hooks, workers=workers, minutes=minutes)
    seconds = perf_counter() - begin
    _show(rendered, f"crops of {people} people", output, tracklet_rows(output / "bbox_train"))
    typer.echo(f"{rendered.now / seconds:.0f} crops a second")
    _stop_if_unfinished(rendered)


@app.command()
def world(
    assets: Assets,
    output: Output,
    people: Annotated[int, typer.Option(min=1, help="Who walk from camera to camera.")] = 8,
    cameras: Annotated[int, typer.Option(min=2, help="Cameras on one clock.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length.")] = 30.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Frames a second.")] = 10.0,
    width: Annotated[int, typer.Option(min=64, help="Of the pictures, even.")] = 960,
    height: Annotated[int, typer.Option(min=64, help="Of the pictures, even.")] = 540,
    clear: Annotated[bool, typer.Option(help="Good cameras by day; else noise, haze and night, too.")] = True,
    crf: Annotated[int, typer.Option(min=0, max=51, help="H.264 quality; larger is smaller.")] = 23,
    seed: Seed = 0,
) -> None:
    """Video of several cameras, through which people walk, with its ground truth."""
    from pipeline.terminal import TerminalHooks
    from synthetic.contact_sheet import world_rows
    from synthetic.shards import Rendered
    from synthetic.world import WorldPlan, write_world

    plan = WorldPlan(
        people=people, cameras=cameras, seconds=seconds, rate=rate, width=width, height=height,
        seed=seed, clear=clear, crf=crf,
    )  # fmt: skip
    with TerminalHooks() as hooks:
        rendered = write_world(assets, output, plan, hooks)
    total = cameras * plan.num_frames
    what = f"frames of {cameras} cameras of {seconds:g} s"
    _show(Rendered(rendered, total, total), what, output, world_rows(output))


@app.command()
def frames(
    assets: Assets,
    output: Output,
    count: Annotated[int, typer.Option("--frames", min=1, help="Pictures.")] = 2000,
    fewest: Annotated[int, typer.Option(min=0, help="People in a picture, at least.")] = 0,
    most: Annotated[int, typer.Option(min=0, help="At most.")] = 15,
    val_share: Annotated[float, typer.Option(min=0, max=0.9, help="Share for validation.")] = 0.1,
    seed: Seed = 0,
    workers: Workers = None,
    minutes: Minutes = None,
) -> None:
    """Pictures with boxes of people, in the layout that Ultralytics trains from."""
    from pipeline.terminal import TerminalHooks
    from synthetic.contact_sheet import frame_rows
    from synthetic.frames import FramePlan, write_frames

    plan = FramePlan(frames=count, fewest=fewest, most=most, val_share=val_share, seed=seed)
    with TerminalHooks() as hooks:
        rendered = write_frames(assets, output, plan, hooks, workers=workers, minutes=minutes)
    _show(rendered, "pictures", output, frame_rows(output))
    _stop_if_unfinished(rendered)
    typer.echo(f"train with {output}/data.yaml")


def _show(rendered: Rendered, what: str, output: Path, rows: list[list[Image]]) -> None:
    """Say what is there, and make a contact sheet of it."""
    from synthetic.contact_sheet import write_contact_sheet

    text = f"{rendered.done} of {rendered.total} {what} are in {output}, {rendered.now} rendered now"
    if any(rows):
        write_contact_sheet(rows, output / "contact-sheet.jpg")
        text += f"; look at {output / 'contact-sheet.jpg'}"
    typer.echo(text)


def _stop_if_unfinished(rendered: Rendered) -> None:
    from pipeline.terminal import TIME_IS_UP

    if rendered.done < rendered.total:
        typer.echo("The time is up; run the same command again to go on.")
        raise typer.Exit(TIME_IS_UP)
