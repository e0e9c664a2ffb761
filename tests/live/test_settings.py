"""What the YAML of cameras may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.live.settings import CameraSettings


def test_a_webcam_is_a_number_with_or_without_quotes() -> None:
    assert CameraSettings.model_validate({"name": "desk", "uri": 0}).uri == "0"
    assert CameraSettings.model_validate({"name": "desk", "uri": "12"}).uri == "12"


@pytest.mark.parametrize("uri", [-1, True, 0.5, None, ["0"]])
def test_what_is_no_address(uri: object) -> None:
    with pytest.raises(ValidationError, match="uri"):
        CameraSettings.model_validate({"name": "desk", "uri": uri})
