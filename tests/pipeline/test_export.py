"""Exports that other tools read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from painted import BLUE, RED, Painted, make_scene

from pipeline.config import load_config
from pipeline.export import ExportError, export
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.gallery import Gallery


def test_mot_fills_the_frames_between_those_seen(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", [Painted(RED, BLUE, 10, 40)], 40)
    lines = scene.boxes.read_text().splitlines()
    hidden = tmp_path / "hidden.txt"  # behind a pillar in frames 16 to 20
    hidden.write_text("\n".join(line for line in lines if not 16 <= int(line.split(",")[0]) <= 20))
    config = load_config(
        overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={hidden}"]
    )
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        ingest(gallery, [SourceSpec("cam", str(scene.video), 0.0)], config)
        assert next(iter(gallery.tracklets())).num_frames == 35
        assert export(gallery, "mot", tmp_path / "out.txt") == 1
    ours, truth = np.loadtxt(tmp_path / "out.txt", delimiter=","), np.loadtxt(scene.boxes, delimiter=",")
    np.testing.assert_allclose(ours[:, [0, 2, 3, 4, 5]], truth[:, [0, 2, 3, 4, 5]], atol=0.02)


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("precious")
    with (
        Gallery.open(tmp_path / "g", create=True) as gallery,
        pytest.raises(ExportError, match="no camera 'x'"),
    ):
        export(gallery, "json", tmp_path / "out.json", camera="x")
    assert (tmp_path / "out.json").read_text() == "precious"
    assert not list(tmp_path.glob(".out*"))


def test_an_empty_gallery_exports_nothing_in_every_format(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        for form in ("mot", "json", "csv"):
            assert export(gallery, form, tmp_path / form) == 0  # type: ignore[arg-type]
    assert (tmp_path / "json").read_text().split() == ["[", "]"]
