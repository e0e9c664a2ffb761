"""The commands `synthesize tracklets|world|frames`; the libraries they need are imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")
    ] = None,
) -> None:
    """Labelled tracklets of one person each, 256x128 crops in the layout of MARS, and a contact sheet."""
    from time import perf_counter

    from pipeline.terminal import TerminalHooks
    from synthetic.contact_sheet import tracklet_rows, write_contact_sheet
    from synthetic.tracklets import TrackletPlan, write_tracklets

    plan = TrackletPlan(people, cameras, seen_by, frames, seed, test_share)
    begin = perf_counter()
    with TerminalHooks() as hooks:
        rendered = write_tracklets(assets, output, plan, hooks, workers=workers, minutes=minutes)
    seconds = perf_counter() - begin
    sheet = output / "contact-sheet.jpg"
    write_contact_sheet(tracklet_rows(output / "bbox_train"), sheet)
    typer.echo(
        f"{plan.num_crops} crops of {people} people in {output}, {rendered} of them rendered now "
        f"({rendered / seconds:.0f} a second); look at {sheet}"
    )


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
    from synthetic.contact_sheet import world_rows, write_contact_sheet
    from synthetic.world import WorldPlan, write_world

    plan = WorldPlan(
        people=people, cameras=cameras, seconds=seconds, rate=rate, width=width, height=height,
        seed=seed, clear=clear, crf=crf,
    )  # fmt: skip
    with TerminalHooks() as hooks:
        rendered = write_world(assets, output, plan, hooks)
    sheet = output / "contact-sheet.jpg"
    write_contact_sheet(world_rows(output), sheet)
    typer.echo(
        f"{cameras} cameras of {seconds:g} s in {output}, {rendered} frames of them rendered now; "
        f"look at {sheet}"
    )


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
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")
    ] = None,
) -> None:
    """Pictures with boxes of people, in the layout that Ultralytics trains from."""
    from pipeline.terminal import TerminalHooks
    from synthetic.contact_sheet import frame_rows, write_contact_sheet
    from synthetic.frames import FramePlan, write_frames

    plan = FramePlan(frames=count, fewest=fewest, most=most, val_share=val_share, seed=seed)
    with TerminalHooks() as hooks:
        rendered = write_frames(assets, output, plan, hooks, workers=workers, minutes=minutes)
    sheet = output / "contact-sheet.jpg"
    write_contact_sheet(frame_rows(output), sheet)
    typer.echo(
        f"{count} pictures in {output}, {rendered} of them rendered now; look at {sheet}, "
        f"train with {output}/data.yaml"
    )
