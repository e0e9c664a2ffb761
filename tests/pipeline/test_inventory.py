"""What `info` tells of a gallery."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from run_pipeline import app
from storage.gallery import Gallery


def test_gaps_are_counted_by_camera_and_the_last_ones_told(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        gate = gallery.begin_source("gate", "rtsp://gate", "f", 0.0, "s", live=True).id
        gallery.begin_source("yard", "rtsp://yard", "f", 0.0, "s", live=True)
        for start in range(0, 70, 10):
            gallery.end_gap(gallery.begin_gap(gate, start, "paused: disk full"), start + 1.5)
    told = CliRunner().invoke(app, ["info", "--gallery", str(tmp_path / "g"), "--json"])
    of_gate, of_yard = json.loads(told.stdout)["gallery"]["camera_list"]
    assert (of_gate["gaps"], of_gate["gaps_s"], len(of_gate["last_gaps"])) == (7, 10.5, 5)
    last = {
        "start": "1970-01-01T00:01:00.000Z",
        "end": "1970-01-01T00:01:01.500Z",
        "reason": "paused: disk full",
    }
    assert of_gate["last_gaps"][-1] == last
    assert "gaps" not in of_yard
    assert "paused: disk full" in CliRunner().invoke(app, ["info", "--gallery", str(tmp_path / "g")]).stdout
