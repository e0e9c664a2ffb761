"""A case as one zip: a page to read, JSON, pictures, clips, and their hashes."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pipeline.case_json import CaseMedia, case_json
from pipeline.case_report import AnsweredSearch, CaseFile, Hidden, render
from pipeline.clips import tracklet_clip
from pipeline.export import whole_path
from pipeline.feedback import Ranking, rank
from pipeline.hooks import Hooks
from pipeline.narrowing import shown_decisions, shown_filter, shows_example
from pipeline.pointing import QueryError
from pipeline.query import load_embedder
from pipeline.report import template
from storage.case_records import Example, SearchRecord
from storage.errors import GalleryDamaged, TrackletNotFound
from storage.gallery import EVERYTHING, Gallery
from storage.records import GalleryFilter

TOP_K = 50
_PAGE = 50


def export_case(
    gallery: Gallery,
    case_id: int,
    out: Path,
    hooks: Hooks | None = None,
    *,
    author: str,
    cameras: frozenset[str] | None = None,
    top_k: int = TOP_K,
) -> Path:
    """Write a case to a zip, which appears only when it is whole. Its searches are answered anew.

    Args:
        hooks: told about progress.
        author: who exports it.
        cameras: the only ones that the author may see; None means all.
        top_k: results of each search, beside those that were decided.

    Returns:
        `out`.

    Raises:
        CaseNotFound: there is no such case.
        ExportError: no file can be written at `out`.
    """
    hooks = hooks or Hooks()
    case_file = _read(gallery, case_id, author, cameras, top_k)
    with whole_path(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        bundle = _Bundle(archive)
        bundle.add("README.txt", template("case_readme.txt.j2").render().encode())
        files = _add_media(gallery, case_file, bundle, hooks)
        bundle.add("report.html", render(case_file).encode())
        text = json.dumps(case_json(case_file, files), ensure_ascii=False, indent=2)
        bundle.add("case.json", text.encode("utf-8", "backslashreplace"))
        bundle.close()
    return out


class _Bundle:
    """Files on their way into a zip, and their hashes."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._sums: list[str] = []
        self._moment = datetime.now(UTC).timetuple()[:6]

    def add(self, name: str, content: bytes) -> str:
        """Adds a file; gives its name."""
        entry = zipfile.ZipInfo(name, self._moment)
        entry.external_attr = 0o644 << 16
        packed = name.endswith((".jpg", ".mp4"))
        entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        self._archive.writestr(entry, content)
        self._sums.append(f"{sha256(content).hexdigest()}  {name}\n")
        return name

    def close(self) -> None:
        """Adds the hashes of all files."""
        self.add("SHA256SUMS", "".join(self._sums).encode())


def _read(
    gallery: Gallery, case_id: int, author: str, cameras: frozenset[str] | None, top_k: int
) -> CaseFile:
    case = gallery.cases.case(case_id)
    found: list[SearchRecord] = []
    while page := gallery.cases.searches(
        case_id=case_id, before=found[-1].id if found else None, limit=_PAGE
    ):
        found += page
    current = gallery.generations.current()
    return CaseFile(
        gallery=gallery.uuid,
        case=case,
        notes=gallery.cases.notes(case_id)[::-1],
        searches=[_answer(gallery, search, cameras, top_k) for search in reversed(found)],
        spec=None if current is None else current.spec,
        num_tracklets=sum(
            each.num_tracklets for each in gallery.cameras() if cameras is None or each.camera in cameras
        ),
        author=author,
        cameras=cameras,
        time=datetime.now(UTC).timestamp(),
    )


def _answer(
    gallery: Gallery, search: SearchRecord, cameras: frozenset[str] | None, top_k: int
) -> AnsweredSearch:
    """A search with its results, as far as they may be seen."""
    history = gallery.cases.history(search.id)
    shown = shown_decisions(gallery, history, cameras)
    examples = [example for example in search.examples if shows_example(example, cameras)]
    asked, num_cameras = shown_filter(search.filter, cameras)
    hidden = Hidden(len(search.examples) - len(examples), len(history) - len(shown), num_cameras)
    pictures = {example.id: _example_crops(gallery, example) for example in examples}
    ranking, problem = _ranking(gallery, search, cameras, top_k)
    return AnsweredSearch(search, asked, examples, pictures, ranking, problem, shown, hidden)


def _ranking(
    gallery: Gallery, search: SearchRecord, cameras: frozenset[str] | None, top_k: int
) -> tuple[Ranking | None, str | None]:
    if cameras is not None and not cameras:
        return None, "no camera may be seen"
    allowed = EVERYTHING if cameras is None else GalleryFilter(cameras=cameras)
    try:
        return rank(gallery, search, lambda: load_embedder(gallery), top_k, allowed), None
    except QueryError as error:
        return None, str(error)


def _example_crops(gallery: Gallery, example: Example) -> Sequence[bytes]:
    return example.crops if example.tracklet_id is None else _crops(gallery, example.tracklet_id)


def _crops(gallery: Gallery, tracklet_id: int) -> Sequence[bytes]:
    try:
        return gallery.crops(tracklet_id)
    except (GalleryDamaged, TrackletNotFound):  # retention or a deletion took them
        return ()


def _add_media(gallery: Gallery, case_file: CaseFile, bundle: _Bundle, hooks: Hooks) -> CaseMedia:
    """Pictures of examples, matches and decided tracklets; clips of them where there is a recording."""
    files, wanted = CaseMedia(), dict[int, None]()
    for answered in case_file.searches:
        for example in answered.examples:
            if example.tracklet_id is not None:
                wanted[example.tracklet_id] = None
            else:
                files.examples[example.id] = _add_crops(bundle, f"example-{example.id}", example.crops)
        wanted |= dict.fromkeys(hit.record.id for hit in answered.hits if answered.is_kept(hit))
    gallery.work_folder.mkdir(exist_ok=True)
    # Beside what it is made of, and called so that a sweep finds what a killed process leaves.
    with tempfile.TemporaryDirectory(prefix="tmp", dir=gallery.work_folder) as folder:
        for done, tracklet_id in enumerate(wanted):
            hooks.on_step("writing pictures and clips", done, len(wanted))
            files.crops[tracklet_id] = _add_crops(
                bundle, f"tracklet-{tracklet_id}", _crops(gallery, tracklet_id)
            )
            clip = _clip(gallery, tracklet_id, Path(folder) / "clip.mp4")
            if clip is not None:
                name = f"clips/tracklet-{tracklet_id}.mp4"
                files.clips[tracklet_id] = bundle.add(name, clip.read_bytes())
    hooks.on_step("writing pictures and clips", len(wanted), len(wanted))
    return files


def _add_crops(bundle: _Bundle, name: str, crops: Sequence[bytes]) -> list[str]:
    return [bundle.add(f"crops/{name}/{i:02}.jpg", crop) for i, crop in enumerate(crops, start=1)]


def _clip(gallery: Gallery, tracklet_id: int, out: Path) -> Path | None:
    try:
        return tracklet_clip(gallery, tracklet_id, out)
    except TrackletNotFound:  # deleted since it was ranked
        return None
