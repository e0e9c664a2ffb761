"""Single messages to real servers, good and bad ones."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import ssl
import subprocess
import time
import traceback
from pathlib import Path

import pytest

from pipeline.alerts import webhook
from pipeline.alerts.webhook import Target, WebhookError, check_address, post, signature
from tests.alerts.receiver import Receiver

BODY = '{"watch": "Jörg"}'.encode()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "STEP_S", 0.4)
    monkeypatch.setattr(webhook, "TOTAL_S", 1.0)


def _post(url: str, **headers: str) -> None:
    post(Target.parse(url), BODY, {"Content-Type": "application/json", **headers})


def test_a_message_arrives_as_it_was_sent() -> None:
    with Receiver() as receiver:
        _post(receiver.url + "?a=1&b=ü", **{"X-Test": "yes"})
    (message,) = receiver.received
    assert message.path == "/hook/s3cr3t-t0ken?a=1&b=%C3%BC"
    assert message.body == BODY
    assert message.headers["X-Test"] == "yes"
    assert message.headers["Host"] == receiver.url.split("/")[2]


def test_the_signature_is_the_hmac_of_timestamp_and_body() -> None:
    expected = hmac.new(b"key", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert signature("key", "1700000000", BODY) == f"sha256={expected}"
    assert signature("key", "1700000001", BODY) != f"sha256={expected}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (500, "it answered 500"),
        (404, "it answered 404"),
        ("hang", "no answer within 0.4 s"),
        ("drip", "longer than 1 s"),
        ("close", "closed the connection"),
        ("garbage", "does not speak HTTP"),
    ],
)
def test_whatever_goes_wrong_is_said_in_time_and_without_the_address(
    quick: None, answer: int | str, words: str
) -> None:
    with Receiver([answer]) as receiver:
        begin = time.monotonic()
        with pytest.raises(WebhookError, match=words) as raised:
            _post(receiver.url)
        assert time.monotonic() - begin < 2.5
    told = "".join(traceback.format_exception_only(raised.value)) + "".join(
        traceback.format_exception(raised.value.__cause__)
        if raised.value.__cause__ or not raised.value.__suppress_context__
        else []
    )
    assert "127.0.0.1" not in told
    assert "t0ken" not in told


def test_redirects_are_not_followed() -> None:
    with Receiver() as elsewhere, Receiver([elsewhere.url]) as receiver:
        with pytest.raises(WebhookError, match="302; redirects are not followed"):
            _post(receiver.url)
        assert elsewhere.received == []


def test_nobody_there() -> None:
    with Receiver() as receiver:
        url = receiver.url
    with pytest.raises(WebhookError, match="refused"):
        _post(url)
    with pytest.raises(WebhookError, match="name cannot be resolved"):
        _post("https://no-such-host.invalid/")


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    pair = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", *pair],
        check=True, capture_output=True,
    )  # fmt: skip
    with Receiver() as receiver:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
        url = receiver.url.replace("http:", "https:")
        with pytest.raises(WebhookError, match="certificate is not trusted: self"):
            _post(url.replace("127.0.0.1", "localhost"))
        assert receiver.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        with pytest.raises(WebhookError, match=r"certificate is not trusted: IP address mismatch"):
            _post(url)
        _post(url.replace("127.0.0.1", "localhost"))
        assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("address", "with_tls", "without"),
    [
        ("127.0.0.1", True, True),
        ("::1", True, True),
        ("10.1.2.3", True, True),
        ("192.168.0.9", True, True),
        ("fd00::1", True, True),
        ("::ffff:10.0.0.1", True, True),
        ("93.184.216.34", True, False),
        ("2606:2800:220:1::1", True, False),
        ("::ffff:93.184.216.34", True, False),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_where_messages_may_go(address: str, with_tls: bool, without: bool) -> None:
    for tls, allowed in ((True, with_tls), (False, without)):
        if allowed:
            check_address(address, tls)
        else:
            with pytest.raises(WebhookError, match="its address is"):
                check_address(address, tls)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/",
        "h/path",
        "",
        "https://",
        "https://user:s3cr3t@h/",
        "https://h:99999/s3cr3t",
        "http://[::1/s3cr3t",
    ],
)
def test_what_is_no_webhook_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="a webhook must") as raised:
        Target.parse(url)
    assert "s3cr3t" not in str(raised.value)


def test_lists_show_where_a_webhook_is_but_not_its_path() -> None:
    assert (
        Target.parse("https://hooks.example.com/services/T0/s3cr3t?x=1").shown
        == "https://hooks.example.com/…"
    )
    assert Target.parse("http://[::1]:8080/").shown == "http://[::1]:8080"
