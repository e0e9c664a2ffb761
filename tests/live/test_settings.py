"""What the YAML of cameras may say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.live.settings import CameraSettings, load_run_config

EXAMPLE = Path(__file__).resolve().parents[2] / "configs" / "cameras.example.yaml"


def test_the_example_is_valid_and_shows_every_setting_of_a_camera() -> None:
    cameras = load_run_config(EXAMPLE).cameras
    assert {"0"} < {camera.uri for camera in cameras}
    text = EXAMPLE.read_text()
    shown = set(re.findall(r"^ *(?:- |# )?(\w+):(?= |$)", text, re.M))
    assert not CameraSettings.model_fields.keys() - shown


def test_a_webcam_is_a_number_with_or_without_quotes() -> None:
    assert CameraSettings.model_validate({"name": "desk", "uri": 0}).uri == "0"
    assert CameraSettings.model_validate({"name": "desk", "uri": "12"}).uri == "12"


@pytest.mark.parametrize("uri", [-1, True, 0.5, None, ["0"]])
def test_what_is_no_address(uri: object) -> None:
    with pytest.raises(ValidationError, match="uri"):
        CameraSettings.model_validate({"name": "desk", "uri": uri})


def test_whom_to_trust_is_said_one_way(tmp_path: Path) -> None:
    (ca := tmp_path / "ca.pem").write_text("")
    camera = {"name": "yard", "uri": "rtsps://h/x"}
    assert CameraSettings.model_validate(camera).tls_verify
    assert CameraSettings.model_validate({**camera, "ca_file": str(ca)}).ca_file == ca
    with pytest.raises(ValidationError, match="to trust everybody"):
        CameraSettings.model_validate({**camera, "ca_file": str(ca), "tls_verify": False})
    with pytest.raises(ValidationError, match="ca_file"):
        CameraSettings.model_validate({**camera, "ca_file": str(tmp_path / "none.pem")})
