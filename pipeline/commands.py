"""The commands `adapt` and `weights store`; the libraries they need are imported when they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.preprocess import Clip


def adapt(
    output: Annotated[Path, typer.Option(help="Checkpoint to write, by custom .safetensors.")],
    weights: Annotated[
        str | None,
        typer.Option("--weights", "--embedder-weights", help="A file, or a name of `weights list`."),
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option("--gallery", help="Folder of a gallery: its tracklets are used.")
    ] = None,
    crops: Annotated[
        Path | None, typer.Option(help="Folder of crops of people; each folder in it is one tracklet.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Share of the new statistics, above 0 and at most 1.")] = 0.5,
    clips: Annotated[int, typer.Option(min=1, help="Tracklets to use at most, drawn at random.")] = 1000,
    variant: Annotated[str | None, typer.Option(help="Needed for the authors' .pth files.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which tracklets are drawn.")] = 0,
    database: Annotated[
        str | None,
        typer.Option("--database", envvar="RETRACE_DATABASE_URL", help="SQLAlchemy URL of its tables."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda:0, ...; default: the GPU if any.")] = None,
) -> None:
    """Fit an embedding network to your cameras by unlabelled crops; reindex with the result after it."""
    import numpy as np

    from models import weights as weight_files
    from models.checkpoint import load_model, read_metadata, save_checkpoint
    from pipeline import adapt as library
    from pipeline.device import choose_device
    from pipeline.terminal import TerminalHooks
    from storage.gallery import Gallery

    if (gallery is None) == (crops is None):
        raise ValueError("adapt takes one of --gallery DIR and --crops DIR: whose people to adapt to")
    resolved = weight_files.resolve(weights, "embedder")
    _check_output(output, resolved.path)
    model = load_model(resolved.path, variant=variant, device=choose_device(device))
    rng = np.random.default_rng(seed)
    with ExitStack() as stack:
        hooks = stack.enter_context(TerminalHooks())
        if crops is not None:
            chosen = library.folder_clips(crops, clips, rng)
        else:
            assert gallery is not None
            opened = stack.enter_context(Gallery.open(gallery, url=database, read_only=True))
            chosen = library.gallery_clips(opened, clips, rng)
        number = 0

        def counted() -> Iterator[Clip]:
            nonlocal number
            for batch in library.batches(chosen, model.preprocessing):
                number += len(batch)
                hooks.on_step("adapting to clips", number, len(chosen))
                yield batch

        adapted = library.adapt_batch_norm(model, counted(), alpha=alpha)
    original = read_metadata(resolved.path) if resolved.path.suffix == ".safetensors" else {}
    metadata = library.adaptation_metadata(original, resolved.sha256, number, alpha)
    save_checkpoint(adapted, output, metadata, storage=original.get("storage", "float32"))
    typer.echo(
        f"{output}: adapted to {number} clips. Use it: run_pipeline.py reindex --gallery DIR "
        f"--embedder {model.variant or 'ste_nvan'} --embedder-weights {output}"
    )


def _check_output(output: Path, weights: Path) -> None:
    if output.is_dir() or not output.parent.is_dir():
        raise ValueError(f"--output {output} must be a file in a folder that is there")
    if output.exists() and output.samefile(weights):
        raise ValueError(f"--output {output} is the file of the weights themselves: give another name")


class StorageForm(StrEnum):
    """How the numbers of a checkpoint are stored."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


def store(
    weights: Annotated[str, typer.Argument(help="A checkpoint, or a name of `weights list`.")],
    output: Annotated[Path, typer.Option(help="Checkpoint to write, by custom .safetensors.")],
    storage: Annotated[StorageForm, typer.Option(help="int8 is a quarter of float32, nearly the same.")],
    variant: Annotated[str | None, typer.Option(help="Needed for the authors' .pth files.")] = None,
) -> None:
    """Write an embedding network in another storage: smaller to ship, loaded as float32 again."""
    from models import weights as weight_files
    from models.checkpoint import OWN_KEYS, load_model, read_metadata, save_checkpoint

    resolved = weight_files.resolve(weights, "embedder")
    _check_output(output, resolved.path)
    model = load_model(resolved.path, variant=variant)
    own = read_metadata(resolved.path) if resolved.path.suffix == ".safetensors" else {}
    if own.get("storage", "float32") != "float32":
        raise ValueError(f"{resolved.path} is rounded to {own['storage']} already: give the original")
    metadata = {key: value for key, value in own.items() if key not in OWN_KEYS}
    save_checkpoint(model, output, metadata, storage=storage.value)
    error = read_metadata(output)["storage_error"]
    typer.echo(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB, its numbers are off by at most {error:.2%} a tensor"
    )
