"""Writing H.264."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config import VideoSettings
from pipeline.video import SourceSpec, open_source
from pipeline.video_writer import VideoWriter

PICTURES = np.random.default_rng(0).integers(0, 255, (6, 65, 97, 3)).astype(np.uint8)


def write(path: Path) -> bytes:
    with VideoWriter(path, 12.5, crf=20, preset="slow", start=1_700_000_000.0) as writer:
        for picture in PICTURES:
            writer.add(picture)
        assert not path.exists(), "it appears when it is whole"
    return path.read_bytes()


def test_what_is_written_can_be_read_and_is_the_same_twice(tmp_path: Path) -> None:
    assert write(tmp_path / "a.mp4") == write(tmp_path / "b.mp4")
    source = open_source(SourceSpec("c", str(tmp_path / "a.mp4")), VideoSettings(analysis_fps=None))
    assert (source.start, source.start_from, source.frame_rate) == (1_700_000_000.0, "container", 12.5)
    frames = list(source.frames())
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)] * 6, "an odd row and column are cut off"


def test_a_broken_off_video_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with VideoWriter(tmp_path / "a.mp4", 10) as writer:
            writer.add(PICTURES[0])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        break_off()
    assert list(tmp_path.iterdir()) == []
