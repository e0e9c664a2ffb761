"""A gallery of rendered video, for the pages: three cameras, people who walk from one to the next."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config, load_config
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.gallery import Gallery

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "three_cameras"
NAMES = {"camera-1": "entrance", "camera-2": "yard", "camera-3": "bicycles"}


def config(camera: str) -> Config:
    """Boxes are those of the rendering, so that a test does not wait for a detector; the embedder is real."""
    boxes = EXAMPLES / f"{camera}.gt.txt"
    return load_config(
        overrides=["detector.name=mot_file", f"detector.path={boxes}", "tracker.name=bytetrack"]
    )


def fill(folder: Path) -> None:
    """Ingest the three cameras."""
    with Gallery.open(folder, create=True) as gallery:
        for camera, name in NAMES.items():
            spec = SourceSpec(name, str(EXAMPLES / f"{camera}.mp4"), 1_764_151_200.0)
            ingest(gallery, [spec], config(camera))
