"""Configuration: defaults, files, overrides, and one-line errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import plugins
from pipeline.config import ConfigError, load_config, settings_hash


def test_the_defaults_load_and_name_plug_ins_that_exist() -> None:
    config = load_config()
    assert config.detector.name in plugins.available("detectors")
    assert config.tracker.name in plugins.available("trackers")
    assert config.embedder.name in plugins.available("embedders")


def test_a_file_and_overrides_change_only_what_they_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("tracklets: {min_frames: 3}\n")
    config = load_config(file, ["video.analysis_fps=null", "tracker.lost_buffer_s=1.5"])
    assert config.tracklets.min_frames == 3
    assert config.tracklets.min_height_px == load_config().tracklets.min_height_px
    assert config.video.analysis_fps is None
    assert config.tracker.options()["lost_buffer_s"] == 1.5


def test_another_plug_in_does_not_inherit_the_settings_of_the_old_one(tmp_path: Path) -> None:
    boxes = tmp_path / "b.txt"
    file = tmp_path / "mine.yaml"
    file.write_text(f"detector: {{name: mot_file, path: '{boxes}'}}\n")
    assert load_config(file).detector.options() == {"path": str(boxes)}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["tracklets.min_framez=3"], "tracklets.min_framez: unknown key"),
        (["nonsense=3"], "nonsense: unknown key"),
        (["tracker.speed=3"], "tracker.speed: unknown key"),
        (["tracklets.min_frames=many"], "tracklets.min_frames: Input should be a valid integer"),
        (["tracklets.min_confidence=1.5"], "less than or equal to 1"),
        (["tracklets"], "--set takes key.sub=value, got 'tracklets'"),
        (["tracker.name=sort"], "no tracker named 'sort'; there are: botsort, bytetrack"),
    ],
)
def test_wrong_settings_are_named_in_one_line(overrides: list[str], expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)) as error:
        load_config(overrides=overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- a list", "a: b: c", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"wrong\.yaml"):
        load_config(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_the_settings_hash_changes_with_the_settings() -> None:
    one, two = load_config(), load_config(overrides=["tracklets.min_frames=9"])
    assert settings_hash(one.tracklets) == settings_hash(load_config().tracklets)
    assert settings_hash(one.tracklets) != settings_hash(two.tracklets)


def test_an_import_error_inside_a_plug_in_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipeline.detectors

    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.setattr(pipeline.detectors, "__path__", [*pipeline.detectors.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        plugins.load("detectors", "broken")
