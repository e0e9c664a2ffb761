"""A case file that others can read, check and trust to hold no more than it should."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from painted import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Painted, make_scene

from models import weights
from pipeline.case_export import export_case
from pipeline.config import BatchSettings, load_config
from pipeline.crops import decode_jpeg
from pipeline.embedding import build_embedder
from pipeline.export import ExportError
from pipeline.ingest import ingest
from pipeline.plugins import PluginSettings
from pipeline.reindex import reindex
from pipeline.thresholds import DEFAULT_THRESHOLDS, describe_errors, threshold_of
from pipeline.video import SourceSpec
from storage.case_records import NewExample, SearchRecord
from storage.errors import CaseNotFound
from storage.gallery import EVERYTHING, Gallery
from storage.records import EmbedderSpec, GalleryFilter
from tests.storage.making import tracklet

EVIL = "<script>alert(1)</script>../../etc"
HERE = (Painted(RED, BLUE, 10, 40), Painted(GREEN, BLACK, 250, 60, dx=-2))
THERE = (
    Painted(RED, BLUE, 200, 50, dx=-1),
    Painted(YELLOW, WHITE, 20, 60),
    Painted(GREEN, BLACK, 100, 80, dx=0.5),
)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "g", create=True) as opened:
        for camera, name, people, start in (("here", "a", HERE, 1000.0), (EVIL, "b", THERE, 1100.0)):
            scene = make_scene(tmp_path, name, people, 60)
            detector = ["detector.name=mot_file", f"detector.path={scene.boxes}"]
            config = load_config(overrides=["embedder.name=colour_stripes", *detector])
            ingest(opened, [SourceSpec(camera, str(scene.video), start)], config)
        yield opened


@pytest.fixture
def case(gallery: Gallery) -> SearchRecord:
    """The search of a case: the red person, with a decision of each kind and one taken back."""
    opened = gallery.cases.add_case(EVIL, f"about {EVIL}", "ada", now=50.0)
    gallery.cases.update_case(opened.id, members=["bo"])
    gallery.cases.add_note(opened.id, "bo", f"a note {EVIL}\nsecond line", now=60.0)
    red = ids_of(gallery, "here")[0]
    upload = NewExample(None, {"file": EVIL}, tuple(gallery.crops(red)[:2]), gallery.embedding(red))
    search = gallery.cases.add_search(
        "ada", [NewExample(red), upload], EVERYTHING, 0.9, f"because {EVIL}", opened.id, now=70.0
    )
    there = ids_of(gallery, EVIL)
    gallery.cases.decide(search.id, there[1], "same", "ada", now=80.0)
    gallery.cases.undo(search.id, there[1], "bo", now=81.0)
    gallery.cases.decide(search.id, there[1], "different", "bo", now=82.0)
    gallery.cases.decide(search.id, there[0], "same", "ada", now=83.0)
    return gallery.cases.search(search.id)


def ids_of(gallery: Gallery, camera: str) -> list[int]:
    """Tracklets of a camera, in the order of the painted people."""
    return sorted(record.id for record in gallery.tracklets(GalleryFilter(cameras=frozenset([camera]))))


def unpacked(gallery: Gallery, case_id: int | None, folder: Path, **options: Any) -> Path:
    assert case_id is not None
    out = folder / "case.zip"
    assert export_case(gallery, case_id, out, author=EVIL, **options) == out
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"([a-z]+(-\d+)?/)*[A-Za-z0-9-]+(\.[a-z0-9]+)?", name) for name in names)
        archive.extractall(folder / "case")
    return folder / "case"


def test_the_hashes_cover_every_file(gallery: Gallery, case: SearchRecord, tmp_path: Path) -> None:
    folder = unpacked(gallery, case.case_id, tmp_path)
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {line.removesuffix(": OK") for line in done.stdout.splitlines()} == files - {"SHA256SUMS"}
    assert {"README.txt", "report.html", "case.json"} < files


def test_notes_are_in_the_order_they_were_written(
    gallery: Gallery, case: SearchRecord, tmp_path: Path
) -> None:
    assert case.case_id is not None
    gallery.cases.add_note(case.case_id, "ada", "the later note", now=90.0)
    folder = unpacked(gallery, case.case_id, tmp_path)
    values = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    assert [note["author"] for note in values["notes"]] == ["bo", "ada"]
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.index("second line") < html.index("the later note")


def test_the_json_is_the_whole_case(gallery: Gallery, case: SearchRecord, tmp_path: Path) -> None:
    folder = unpacked(gallery, case.case_id, tmp_path)
    values = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    assert (values["format"], values["gallery"], values["exported"]["by"]) == (1, gallery.uuid, EVIL)
    assert values["model"]["name"] == "colour_stripes"
    assert values["case"] | {"id": 0} == {
        "id": 0, "name": EVIL, "description": f"about {EVIL}", "owner": "ada", "members": ["bo"],
        "created": "1970-01-01T00:00:50.000Z", "closed": None, "held": False,
    }  # fmt: skip
    assert [note["text"] for note in values["notes"]] == [f"a note {EVIL}\nsecond line"]
    (search,) = values["searches"]
    assert (search["reason"], search["threshold"], search["problem"]) == (f"because {EVIL}", 0.9, None)
    assert [span["camera"] for span in search["left_out"]] == ["here"]
    there = ids_of(gallery, EVIL)
    found = {result["tracklet"]: result for result in search["results"]}
    assert [search["results"][i]["tracklet"] for i in (0, -1)] == [there[0], there[1]]
    assert [result["rank"] for result in search["results"]] == list(range(1, len(found) + 1))
    assert {n: found[n]["verdict"] for n in there} == {
        there[0]: "same", there[1]: "different", there[2]: None,
    }  # fmt: skip
    assert found[there[0]]["kind"] == "match"
    assert found[there[2]]["kind"] == "candidate"
    undone = [(d["verdict"], d["author"], d["undone_by"]) for d in search["decisions"]]
    assert undone == [("same", "ada", "bo"), ("different", "bo", None), ("same", "ada", None)]
    readme = (folder / "README.txt").read_text()
    for key in {*values, *values["case"], *search, *found[there[0]], *values["model"], *search["filter"]}:
        assert re.search(rf"\b{key}\b", readme), key


def test_pictures_and_clips_of_what_was_decided_or_matched(
    gallery: Gallery, case: SearchRecord, tmp_path: Path
) -> None:
    folder = unpacked(gallery, case.case_id, tmp_path)
    search = json.loads((folder / "case.json").read_text())["searches"][0]
    there = ids_of(gallery, EVIL)
    found = {result["tracklet"]: result for result in search["results"]}
    for number in there[:2]:
        crops = [(folder / name).read_bytes() for name in found[number]["crops"]]
        assert crops == gallery.crops(number)
        with av.open(str(folder / found[number]["clip"])) as container:
            assert sum(1 for _ in container.decode(video=0)) == 60
    assert (found[there[2]]["crops"], found[there[2]]["clip"]) == ([], None)  # a candidate, not decided
    examples = [[(folder / name).read_bytes() for name in e["crops"]] for e in search["examples"]]
    assert examples[0] == gallery.crops(case.examples[0].tracklet_id or 0)
    assert examples[1] == list(case.examples[1].crops)
    assert all(decode_jpeg(crop) is not None for crop in examples[1])
    (tmp_path / "b.mp4").unlink()
    again = tmp_path / "again"
    again.mkdir()
    folder = unpacked(gallery, case.case_id, again)
    results = json.loads((folder / "case.json").read_text())["searches"][0]["results"]
    assert all(result["clip"] is None for result in results)
    assert results[0]["crops"]


def test_the_page_stands_alone_and_says_what_it_means(
    gallery: Gallery, case: SearchRecord, tmp_path: Path
) -> None:
    page = (unpacked(gallery, case.case_id, tmp_path) / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "default-src 'none'" in page
    for text in ("not matches", "threshold 0.900: below are candidates", "Fallback model", "taken for one"):
        assert text in page, text
    parts = ["Decided to be the same person", "Matches, not decided", "threshold 0.900", "somebody else</h3>"]
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(re.findall(r' id="([^"]+)"', page))
    assert len(links) == 3
    assert 'class="mark query"' in page


def test_what_may_not_be_seen_is_not_in_it(gallery: Gallery, case: SearchRecord, tmp_path: Path) -> None:
    folder = unpacked(gallery, case.case_id, tmp_path, cameras=frozenset(["here"]))
    values = json.loads((folder / "case.json").read_text())
    (search,) = values["searches"]
    assert values["exported"]["cameras"] == ["here"]
    assert [result["camera"] for result in search["results"]] == []
    assert (search["decisions"], search["hidden"]) == ([], {"examples": 0, "decisions": 3, "cameras": 0})
    hidden = [f"tracklet-{number}" for number in ids_of(gallery, EVIL)]
    assert not [path for path in folder.rglob("*") if path.parent.name in hidden or path.stem in hidden]
    other = tmp_path / "other"
    other.mkdir()
    search = json.loads(
        (unpacked(gallery, case.case_id, other, cameras=frozenset()) / "case.json").read_text()
    )["searches"][0]
    assert (search["results"], search["problem"]) == ([], "no camera may be seen")
    assert [example["tracklet"] for example in search["examples"]] == [None]


@pytest.mark.parametrize(
    "asked",
    [
        GalleryFilter(cameras=frozenset([EVIL])),
        GalleryFilter(exclude_cameras=frozenset([EVIL]), exclude_span=("here", 1.0, 2.0)),
        GalleryFilter(exclude_span=(EVIL, 1.0, 2.0)),
    ],
)
def test_a_filter_names_no_camera_that_may_not_be_seen(
    gallery: Gallery, case: SearchRecord, tmp_path: Path, asked: GalleryFilter
) -> None:
    example = gallery.cases.search(case.id).examples[0]
    narrow = gallery.cases.add_case("narrow", "", "ada").id
    gallery.cases.add_search("ada", [NewExample(example.tracklet_id)], asked, 0.5, "", narrow)
    folder = unpacked(gallery, narrow, tmp_path, cameras=frozenset(["here"]))
    text, page = ((folder / name).read_text(encoding="utf-8") for name in ("case.json", "report.html"))
    (search,) = json.loads(text)["searches"]
    assert (search["filter"]["cameras"], search["filter"]["exclude_cameras"]) == ([], [])
    assert search["hidden"]["cameras"] == 1
    assert EVIL not in json.dumps(search)
    assert "1 name in the filter of cameras that" in page
    assert "<dd>everything</dd>" not in page


def test_an_example_of_another_camera_is_not_shown(
    gallery: Gallery, case: SearchRecord, tmp_path: Path
) -> None:
    crops, vector = (
        tuple(gallery.crops(ids_of(gallery, EVIL)[0])),
        gallery.embedding(ids_of(gallery, EVIL)[0]),
    )
    seen = gallery.tracklet(ids_of(gallery, EVIL)[0])
    drawn = [
        NewExample(None, description, crops, vector)
        for description in (
            {"camera": EVIL, "span": [EVIL, seen.start, seen.end]},
            {"camera": None, "span": [EVIL, seen.start, seen.end]},
            {"camera": "here", "span": ["here", 1.0, 2.0]},
            {"camera": None, "span": None},
        )
    ]
    stored = NewExample(ids_of(gallery, EVIL)[2])
    examples = gallery.cases.add_examples(case.id, [*drawn, stored]).examples
    cameras = [example.camera for example in examples]
    assert cameras == ["here", None, EVIL, EVIL, "here", None, EVIL]
    folder = unpacked(gallery, case.case_id, tmp_path, cameras=frozenset(["here"]))
    (search,) = json.loads((folder / "case.json").read_text())["searches"]
    shown = [example.id for example, camera in zip(examples, cameras, strict=True) if camera != EVIL]
    assert [example["id"] for example in search["examples"]] == shown
    assert search["hidden"] == {"examples": 3, "decisions": 3, "cameras": 0}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "3 examples and 3 decisions of cameras that" in page
    assert {path.name for path in (folder / "crops").iterdir() if path.name.startswith("example")} == {
        f"example-{example.id}" for example in examples if example.id in shown and example.tracklet_id is None
    }


def test_it_does_not_tell_how_the_server_is_built(
    gallery: Gallery, case: SearchRecord, tmp_path: Path
) -> None:
    current = gallery.generations.current()
    assert current is not None
    stream = gallery.begin_source("gate", "rtsp://***@10.0.0.7/live", "gate", 5000.0, "", live=True)
    red = gallery.embedding(ids_of(gallery, "here")[0])
    gallery.add_tracklets(stream.id, [tracklet(1, red, start=5000.0)], current.spec)
    folder = unpacked(gallery, case.case_id, tmp_path)
    (search,) = json.loads((folder / "case.json").read_text())["searches"]
    sources = {result["camera"]: result["source"] for result in search["results"]}
    assert sources == {EVIL: "b.mp4", "gate": None}
    for name in ("case.json", "report.html", "README.txt"):
        text = (folder / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "10.0.0.7" not in text


def test_the_time_line_tells_matches_from_candidates(
    gallery: Gallery, case: SearchRecord, tmp_path: Path
) -> None:
    unsure = ids_of(gallery, EVIL)[0]
    gallery.cases.decide(case.id, unsure, "unsure", "ada")  # and so a match that nobody decided
    folder = unpacked(gallery, case.case_id, tmp_path)
    page = (folder / "report.html").read_text(encoding="utf-8")
    (search,) = json.loads((folder / "case.json").read_text())["searches"]
    marks = dict(re.findall(r'<a class="mark (\w+)" href="(#[^"]+)"', page))
    assert set(marks) == {"match", "candidate", "rejected"}
    found = {result["tracklet"]: result for result in search["results"]}
    kinds = [(found[n]["kind"], found[n]["verdict"]) for n in ids_of(gallery, EVIL)]
    assert kinds == [("match", "unsure"), ("candidate", "different"), ("candidate", None)]
    for kind, number in zip(("match", "rejected", "candidate"), ids_of(gallery, EVIL), strict=True):
        place = page.index(f'<li id="{marks[kind][1:]}">')
        assert f"tracklet {number}<" in page[place : page.index("</li>", place)]
    legend = page[page.index('<ul class="legend') :]
    legend = legend[: legend.index("</ul>")]
    assert re.findall(r'class="mark (\w+)"', legend) == ["query", "match", "candidate", "rejected"]
    assert "candidate, not a match" in legend
    assert re.search(r'aria-label="number \d+, [^"]*, candidate, not a match"', page)


def test_the_page_can_be_read_aloud(gallery: Gallery, case: SearchRecord, tmp_path: Path) -> None:
    page = (unpacked(gallery, case.case_id, tmp_path) / "report.html").read_text(encoding="utf-8")
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert all(level <= before + 1 for before, level in pairwise(levels)), levels
    body = page[page.index("<body>") :]
    assert re.fullmatch(r"<body>\s*<main>(?:(?!</?main>).)*</main>\s*</body>\s*</html>\s*", body, re.DOTALL)


def test_a_threshold_of_another_model_does_not_apply(
    gallery: Gallery, case: SearchRecord, tmp_path: Path
) -> None:
    settings = PluginSettings.model_validate({"name": "colour_stripes", "stripes": 4})
    reindex(gallery, build_embedder(settings), BatchSettings())
    folder = unpacked(gallery, case.case_id, tmp_path)
    (search,) = json.loads((folder / "case.json").read_text())["searches"]
    current = gallery.generations.current()
    assert current is not None
    threshold = threshold_of(current.spec)
    assert search["threshold"] == threshold != case.threshold
    assert "threshold of 0.900 was chosen for colour_stripes" in search["threshold_note"]
    for result in search["results"]:
        assert result["kind"] == ("match" if result["similarity"] >= threshold else "candidate")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"threshold {threshold:.3f}: below are candidates" in page
    assert "threshold of 0.900 was chosen for colour_stripes" in page


def test_a_case_without_anything_is_a_file_too(gallery: Gallery, tmp_path: Path) -> None:
    empty = gallery.cases.add_case("empty", "", "ada")
    page = (unpacked(gallery, empty.id, tmp_path) / "report.html").read_text()
    assert "There is no search in this case" in page
    lost = gallery.cases.add_case("lost", "", "ada")
    number = ids_of(gallery, "here")[0]
    gallery.cases.add_search("ada", [NewExample(number)], EVERYTHING, 0.5, "", lost.id)
    gallery.delete_tracklets([number])
    folder = tmp_path / "lost"
    folder.mkdir()
    page = (unpacked(gallery, lost.id, folder) / "report.html").read_text()
    assert "nothing left to compare with" in page


def test_a_failed_export_leaves_the_old_file(gallery: Gallery, case: SearchRecord, tmp_path: Path) -> None:
    out = tmp_path / "case.zip"
    out.write_text("precious")
    with pytest.raises(CaseNotFound):
        export_case(gallery, 99, out, author="ada")
    with pytest.raises(ExportError, match="no folder"):
        export_case(gallery, case.case_id or 0, tmp_path / "no" / "case.zip", author="ada")
    assert out.read_text() == "precious"
    assert not list(tmp_path.glob(".case*"))


def test_what_a_killed_export_leaves_lies_in_the_gallery(
    gallery: Gallery, case: SearchRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []

    def noted(gallery: Gallery, tracklet_id: int, out: Path) -> None:
        folders.append(out.parent)

    monkeypatch.setattr("pipeline.case_export.tracklet_clip", noted)
    unpacked(gallery, case.case_id, tmp_path)
    (folder,) = set(folders)
    assert folder.parent == gallery.work_folder
    assert folder.name.startswith("tmp")
    assert list(gallery.work_folder.glob("tmp*")) == []


def test_on_the_command_line(
    gallery: Gallery, case: SearchRecord, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    folder = ("--gallery", gallery.folder)
    listed = json.loads(run_cli("case", "list", *folder, "--json").stdout)
    assert [(row["id"], row["name"], row["searches"]) for row in listed] == [(case.case_id, EVIL, 1)]
    out = tmp_path / "cli.zip"
    done = run_cli("case", "export", case.case_id, *folder, "--out", out, "--author", "Ada L.")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out) as archive:
        assert json.loads(archive.read("case.json"))["exported"]["by"] == "Ada L."
    (entry,) = gallery.audit.entries()
    assert (entry.action, entry.subject["case"], entry.via) == ("export", case.case_id, "command line")
    assert (entry.subject["author"], entry.subject["bytes"]) == ("Ada L.", out.stat().st_size)
    wrong = run_cli("case", "export", 99, *folder, "--out", tmp_path / "x.zip")
    assert (wrong.returncode, wrong.stderr.strip()) == (
        2, "retrace: no case has the id 99: list them to see which there are",
    )  # fmt: skip
    assert len(gallery.audit.entries()) == 1


# Thresholds


def test_the_threshold_of_a_measured_model_is_its_strictest_point() -> None:
    for (name, hash), rates in DEFAULT_THRESHOLDS.items():
        spec = EmbedderSpec(name, hash, "any", 8)
        assert threshold_of(spec) == rates[0].similarity
        assert [rate.false_match_rate for rate in rates] == sorted(rate.false_match_rate for rate in rates)
        assert rates[0].similarity > rates[1].similarity
        assert rates[0].true_match_share < rates[1].true_match_share
        assert "about 50 of other people" in describe_errors(spec, 50_000, "here")
        assert "1 of 1,000 pairs" in describe_errors(spec, 50_000, "here")


def test_a_model_that_was_not_measured_says_so() -> None:
    spec = EmbedderSpec("ste_nvan", "ab" * 32, "any", 8)
    assert -1 < threshold_of(spec) < 1
    assert "not measured" in describe_errors(spec, 50_000, "here")


def test_the_default_weights_are_measured() -> None:
    name = weights.default_embedder()
    assert name is not None
    assert ("ste_nvan", weights.card(name).sha256) in DEFAULT_THRESHOLDS, (
        "measure new weights with benchmarks/feedback.py"
    )
