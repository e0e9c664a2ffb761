"""A case as JSON values, as an export holds them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from pipeline.case_report import AnsweredSearch, CaseFile
from pipeline.export import iso
from pipeline.feedback import Ranked
from pipeline.reindex import describe
from pipeline.report import filter_json
from pipeline.thresholds import rates_json
from storage.case_records import Decision


@dataclass
class CaseMedia:
    """Names of the files that go along: crops of examples by example, crops and clips by tracklet."""

    examples: dict[int, list[str]] = field(default_factory=dict)
    crops: dict[int, list[str]] = field(default_factory=dict)
    clips: dict[int, str] = field(default_factory=dict)


def case_json(case_file: CaseFile, files: CaseMedia) -> dict[str, Any]:
    """The documented JSON of an exported case (`case_readme.txt.j2`)."""
    case, spec = case_file.case, case_file.spec
    seen = None if case_file.cameras is None else sorted(case_file.cameras)
    return {
        "format": 1,
        "exported": {"time": iso(case_file.time), "by": case_file.author, "cameras": seen},
        "gallery": case_file.gallery,
        "model": None
        if spec is None
        else {**describe(spec), "note": case_file.fallback, "error_rates": rates_json(spec)},
        "case": {
            "id": case.id,
            "name": case.name,
            "description": case.description,
            "owner": case.owner,
            "members": sorted(case.members),
            "created": iso(case.created),
            "closed": None if case.closed is None else iso(case.closed),
            "held": case.held,
        },
        "notes": [
            {"author": note.author, "created": iso(note.created), "text": note.text}
            for note in case_file.notes
        ],
        "searches": [_search_json(answered, files) for answered in case_file.searches],
    }


def _search_json(answered: AnsweredSearch, files: CaseMedia) -> dict[str, Any]:
    search = answered.search
    return {
        "id": search.id,
        "author": search.author,
        "created": iso(search.created),
        "reason": search.reason,
        "threshold": answered.threshold,
        "threshold_note": answered.threshold_note,
        "filter": {**filter_json(answered.filter), "min_quality": answered.filter.min_quality},
        "left_out": [
            {"camera": camera, "start": iso(start), "end": iso(end)}
            for camera, start, end in answered.left_out
        ],
        "examples": [
            {
                "id": example.id,
                "tracklet": example.tracklet_id,
                "description": example.description,
                "crops": files.examples.get(example.id) or files.crops.get(example.tracklet_id or 0, []),
            }
            for example in answered.examples
        ],
        "problem": answered.problem,
        "results": [
            _result_json(rank, hit, answered, files) for rank, hit in enumerate(answered.hits, start=1)
        ],
        "decisions": [_decision_json(decision) for decision in answered.history],
        "hidden": asdict(answered.hidden),
    }


def _result_json(rank: int, hit: Ranked, answered: AnsweredSearch, files: CaseMedia) -> dict[str, Any]:
    record = hit.record
    return {
        "rank": rank,
        "tracklet": record.id,
        "camera": record.camera,
        "source": _file_name(record.source),
        "start": iso(record.start),
        "end": iso(record.end),
        "similarity": round(hit.similarity, 6),
        "score": round(hit.score, 6),
        "kind": "match" if answered.is_match(hit) else "candidate",
        "verdict": hit.verdict,
        "crops": files.crops.get(record.id, []),
        "clip": files.clips.get(record.id),
    }


def _file_name(source: str) -> str | None:
    """A recording's name. Where it lies, and a stream's address, tell how the server is built."""
    return None if "://" in source else PurePath(source).name


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {
        "tracklet": decision.tracklet_id,
        "verdict": decision.verdict,
        "author": decision.author,
        "created": iso(decision.created),
        "undone": None if decision.undone is None else iso(decision.undone),
        "undone_by": decision.undone_by,
    }
