"""The page of a case: to read and to print, self-contained, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline import plugins
from pipeline.embedding import settings_of
from pipeline.feedback import Ranked, Ranking
from pipeline.narrowing import Span
from pipeline.report import filter_words, picture, template
from pipeline.thresholds import describe_errors
from pipeline.time_line import clock, lanes, ticks
from storage.case_records import Case, Decision, Example, Note, SearchRecord
from storage.records import EmbedderSpec, GalleryFilter, Hit

_VERDICTS = {"same": "the same person", "different": "somebody else", "unsure": "not sure"}
_KINDS = {
    "query": "the person searched for",
    "same": "decided to be the same person",
    "match": "match, not decided",
    "candidate": "candidate, not a match",
    "rejected": "decided to be somebody else",
}
"""What a mark on the time line is: its class, and how the legend calls it."""
_MAX_PICTURES = 8  # of one example


@dataclass(frozen=True)
class Hidden:
    """How many examples and decisions of a search are of cameras that may not be seen, and how many of those
    its filter names."""

    examples: int
    decisions: int
    cameras: int

    def __str__(self) -> str:
        numbers = (
            (self.examples, "example", ""),
            (self.decisions, "decision", ""),
            (self.cameras, "name", " in the filter"),
        )
        return " and ".join(f"{n} {word}{'' if n == 1 else 's'}{more}" for n, word, more in numbers if n)


@dataclass(frozen=True)
class AnsweredSearch:
    """A search of a case with what it finds now, as far as who exports it may see.

    Attributes:
        filter: what was asked for, without cameras that may not be seen.
        examples: those that may be seen; `pictures` are their JPEG files by id.
        ranking: None if there is none; then `problem` says why.
        history: all decisions in order, those taken back included.
        hidden: what may not be seen.
    """

    search: SearchRecord
    filter: GalleryFilter
    examples: list[Example]
    pictures: dict[int, Sequence[bytes]]
    ranking: Ranking | None
    problem: str | None
    history: list[Decision]
    hidden: Hidden

    @property
    def hits(self) -> list[Ranked]:
        """What was found."""
        return [] if self.ranking is None else self.ranking.hits

    @property
    def left_out(self) -> tuple[Span, ...]:
        """Where nobody was looked for."""
        return () if self.ranking is None else self.ranking.left_out

    @property
    def threshold(self) -> float:
        """Similarity from which on a hit is a match."""
        return self.search.threshold if self.ranking is None else self.ranking.threshold

    @property
    def threshold_note(self) -> str | None:
        """A sentence if that is not the threshold that was chosen for the search."""
        return None if self.ranking is None else self.ranking.threshold_note

    def is_match(self, hit: Ranked) -> bool:
        """Whether a hit reaches the threshold."""
        return hit.similarity >= self.threshold

    def is_kept(self, hit: Ranked) -> bool:
        """Whether a hit's pictures go along: those of matches and of what was decided."""
        return hit.verdict is not None or self.is_match(hit)


@dataclass(frozen=True)
class CaseFile:
    """All of a case that is exported.

    Attributes:
        gallery: the gallery's uuid.
        spec: what compares; None in an empty gallery.
        num_tracklets: how many the gallery holds of the cameras that the author may see.
        author: who exports it.
        cameras: the only ones that the author may see; None means all.
        time: when, seconds UTC.
    """

    gallery: str
    case: Case
    notes: list[Note]
    searches: list[AnsweredSearch]
    spec: EmbedderSpec | None
    num_tracklets: int
    author: str
    cameras: frozenset[str] | None
    time: float

    @property
    def fallback(self) -> str | None:
        """A sentence if the model is a stand-in."""
        if self.spec is None:
            return None
        sentence: str | None = plugins.load("embedders", settings_of(self.spec).name).FALLBACK
        return sentence


def render(case_file: CaseFile) -> str:
    """The page as HTML. Pictures are inside; it loads nothing and runs no scripts."""
    case, spec = case_file.case, case_file.spec
    return template("case_report.html.j2").render(
        case=case,
        facts=_facts(case_file),
        made=clock(case_file.time),
        author=case_file.author,
        model=None if spec is None else str(spec),
        note=case_file.fallback,
        errors=None if spec is None else _errors(case_file, spec),
        notes=[(note.author, clock(note.created), note.text) for note in case_file.notes],
        searches=[_search(answered) for answered in case_file.searches],
        kinds=_KINDS,
    )


def _errors(case_file: CaseFile, spec: EmbedderSpec) -> str:
    where = "in this gallery" if case_file.cameras is None else "in these cameras"
    return describe_errors(spec, case_file.num_tracklets, where)


def _facts(case_file: CaseFile) -> list[tuple[str, str]]:
    case = case_file.case
    facts = [("Owner", case.owner), ("Opened", clock(case.created))]
    if case.members:
        facts.append(("Members", ", ".join(sorted(case.members))))
    if case.closed is not None:
        facts.append(("Closed", clock(case.closed)))
    if case.held:
        facts.append(("Legal hold", "yes: nothing that it is about is deleted"))
    if case_file.cameras is not None:
        seen = ", ".join(sorted(case_file.cameras)) or "none"
        facts.append(("Only these cameras", f"{seen}; {case_file.author} may not see others"))
    return facts


def _search(answered: AnsweredSearch) -> dict[str, Any]:
    """What the template shows of a search."""
    search = answered.search
    decided = {decision.tracklet_id: decision for decision in search.decisions}
    groups = _groups(answered)
    shown = [hit for _, hits in groups for hit in hits]
    numbers = {hit.record.id: number for number, hit in enumerate(shown, start=1)}
    on_line = [Hit(hit.record, hit.similarity) for hit in shown]
    return {
        "id": search.id,
        "author": search.author,
        "created": clock(search.created),
        "reason": search.reason,
        "threshold": answered.threshold,
        "threshold_note": answered.threshold_note,
        "asked": filter_words(answered.filter),
        "left_out": [
            f"{camera} from {clock(start)} to {clock(end)}" for camera, start, end in answered.left_out
        ],
        "problem": answered.problem,
        "hidden": answered.hidden,
        "learnt": answered.ranking,
        "examples": [_example(answered, example) for example in answered.examples],
        "lanes": lanes(answered.left_out, on_line) if on_line else [],
        "ticks": ticks(answered.left_out, on_line),
        "kinds": {numbers[hit.record.id]: kind for kind, hits in groups for hit in hits},
        "groups": {
            kind: [_result(numbers[hit.record.id], hit, decided) for hit in hits] for kind, hits in groups
        },
        "history": [_decision(decision) for decision in answered.history],
    }


def _groups(answered: AnsweredSearch) -> list[tuple[str, list[Ranked]]]:
    """Hits as the page puts them: decided ones apart, and a line between matches and candidates."""
    undecided = [hit for hit in answered.hits if hit.verdict not in ("same", "different")]
    return [
        ("same", [hit for hit in answered.hits if hit.verdict == "same"]),
        ("match", [hit for hit in undecided if answered.is_match(hit)]),
        ("candidate", [hit for hit in undecided if not answered.is_match(hit)]),
        ("rejected", [hit for hit in answered.hits if hit.verdict == "different"]),
    ]


def _example(answered: AnsweredSearch, example: Example) -> dict[str, Any]:
    if example.tracklet_id is not None:
        title = f"Tracklet {example.tracklet_id}"
    else:
        title = f"Uploaded pictures, example {example.id}"
    known = {key: value for key, value in example.description.items() if value not in (None, "", [])}
    return {
        "title": title,
        "description": "; ".join(f"{key}: {value}" for key, value in known.items()),
        "pictures": [picture(jpeg) for jpeg in answered.pictures[example.id][:_MAX_PICTURES]],
    }


def _result(number: int, hit: Ranked, decided: dict[int, Decision]) -> dict[str, Any]:
    record, decision = hit.record, decided.get(hit.record.id)
    shown = ""
    with suppress(FileNotFoundError):  # retention took it, or it was refined since the search
        shown = picture(record.thumbnail.read_bytes())
    return {
        "number": number,
        "picture": shown,
        "id": record.id,
        "camera": record.camera,
        "start": clock(record.start),
        "seconds": record.end - record.start,
        "similarity": hit.similarity,
        "decision": None if decision is None else _decision(decision),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "tracklet": decision.tracklet_id,
        "verdict": _VERDICTS[decision.verdict],
        "author": decision.author,
        "created": clock(decision.created),
        "undone": None if decision.undone is None else clock(decision.undone),
        "undone_by": decision.undone_by or "",
    }
