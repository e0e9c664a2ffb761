"""What of an address is shown, and where its secrets come from."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.live.redaction import expand, reason, redact

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
        ("rtsp://admin:s3cr3t@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:s3@cr3t@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:s3/cr3t@10.0.0.7/live", "rtsp://***"),
        ("rtsp://admin:s3?cr3t@10.0.0.7/live", "rtsp://***"),
        ("http://[fe80::1]:80/a?x=1&y&z=", "http://[fe80::1]:80/a?x=***&***&z=***"),
        ("http://10.0.0.7/a?mail=c@d", "http://***"),
        ("http://10.0.0.7/a?x=y&z#f", "http://10.0.0.7/a?x=***&***#***"),
        ("https://host/live.m3u8#s3cr3t", "https://host/live.m3u8#***"),
        ("rtsp://host/user=admin&password=s3cr3t&channel=1.sdp", "rtsp://host/user=***"),
        ("rtsp://host/user=admin_password=s3cr3t_channel=1/live", "rtsp://host/user=***/live"),
        ("rtsps://host:7441/Aq7Zk29xLm01PqRs?enableSrtp", "rtsps://host:7441/***?***"),
        ("http://host/eyJhbGciOi.eyJzdWIi.x-_y/live", "http://host/***/live"),
        ("rtsp://host/Streaming/Channels/101", "rtsp://host/Streaming/Channels/101"),
        ("admin:s3cr3t@10.0.0.7/live", "***@10.0.0.7/live"),
        ("/videos/a@b.mp4", "/videos/a@b.mp4"),
        ("0", "0"),
        ("", ""),
        ("://", "://"),
    ],
)
def test_what_is_shown(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@given(st.text(), st.text(), st.text(alphabet="abc/?#&=@:[]%"))
def test_no_text_makes_it_fail_and_a_password_never_shows(user: str, password: str, path: str) -> None:
    assert isinstance(redact(user + path), str)
    assert SECRET not in redact(f"rtsp://{user}:{SECRET}{password}@host/{path}")
    assert SECRET not in redact(f"http://host/{path}?k={SECRET}")


def test_variables_are_put_in_and_a_password_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "10.0.0.7:554/live")
    monkeypatch.setenv("CAM_PW", "p@ss/w:rd%")
    assert expand("rtsp://u:${CAM_PW}@${HOST}") == "rtsp://u:p%40ss%2Fw%3Ard%25@10.0.0.7:554/live"
    monkeypatch.setenv("WHOLE", "rtsp://u:p@h/x")
    assert expand("${WHOLE}") == "rtsp://u:p@h/x"
    assert expand("rtsp://host/$1") == "rtsp://host/$1"


@pytest.mark.parametrize(
    "uri", ["rtsp://u:s3cr3t${NOT_THERE}@h", "rtsp://u:s3cr3t@h/${}", "rtsp://s3cr3t@${A"]
)
def test_a_missing_variable_is_named_and_nothing_else(uri: str) -> None:
    with pytest.raises(ValueError, match=r"NOT_THERE|names no variable") as caught:
        expand(uri)
    assert SECRET not in str(caught.value)


def test_the_reason_of_an_ffmpeg_error_has_no_address() -> None:
    with pytest.raises(av.FFmpegError) as caught:
        av.open(f"rtsp://u:{SECRET}@127.0.0.1:1/x", timeout=2)
    assert SECRET in str(caught.value)  # which is why it may not be shown
    assert reason(caught.value) == "Connection refused"
    assert reason(ValueError(f"rtsp://u:{SECRET}@h")) == "ValueError"


@pytest.mark.parametrize(
    "cameras",
    [
        "- name: yard\n  uri: rtsp://admin:s3cr3t@10.0.0.1/live: foo\n",
        "- uri: rtsp://admin:s3cr3t@10.0.0.1/live\n",
        "- {name: yard, uri: [rtsp://admin:s3cr3t@10.0.0.1/live]}\n",
        "- {name: yard, uri: 'rtsp://h/a', 'rtsp://admin:s3cr3t@10.0.0.1/live': 1}\n",
        "- rtsp://admin:s3cr3t@10.0.0.1/live\n",
        "- {name: yard, uri: *s3cr3t}\n",
        "- {name: yard, uri: !s3cr3t x}\n",
        "- {name: yard, uri: 'rtsp://admin:s3cr3t@10.0.0.1/live\n",
    ],
)
def test_a_configuration_that_is_wrong_does_not_show_its_passwords(
    tmp_path: Path, cameras: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from run_pipeline import main

    (tmp_path / "cameras.yaml").write_text(f"cameras:\n{cameras}")
    asked = ["run", "--config", str(tmp_path / "cameras.yaml"), "--gallery", str(tmp_path / "g")]
    assert main([*asked, "--debug"]) == 2
    said = capsys.readouterr()
    assert "s3cr3t" not in said.out + said.err
    assert "cameras.yaml" in said.err or "cameras.0" in said.err
