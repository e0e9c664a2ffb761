"""What is asked for in a search: each example becomes pictures of a person with an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from pipeline import query as queries
from pipeline.hooks import Hooks
from pipeline.pointing import Box
from storage.case_records import NewExample
from storage.records import SourceRecord
from web import resources
from web.access import Caller, visible_source, visible_tracklet
from web.playing import shown_file
from web.problems import Refused
from web.resources import SourceExample, TrackletExample, UploadExample
from web.services import Services

_MAX_CROPS = 8
_MOST_COMPUTED = 4  # examples of a request that are no tracklets: each takes seconds


def examples_of(
    services: Services, caller: Caller, given: Sequence[resources.Example], hooks: Hooks
) -> list[NewExample]:
    """The examples as they are stored.

    Raises:
        Refused: there are too many that must be computed, or one is nothing that the caller may search with.
        TrackletNotFound, SourceNotFound, UploadNotFound: there is none, or it is not the caller's to see.
        QueryError: it is not clear who is meant, or nothing can be embedded.
    """
    if sum(not isinstance(each, TrackletExample) for each in given) > _MOST_COMPUTED:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"a request takes at most {_MOST_COMPUTED} uploads and boxes in recordings: add others after it",
        )
    return [_example(services, caller, each, hooks) for each in given]


def _example(services: Services, caller: Caller, given: resources.Example, hooks: Hooks) -> NewExample:
    match given:
        case TrackletExample():
            record = visible_tracklet(services, caller, given.tracklet)
            return NewExample(record.id, {"tracklet": record.id, "camera": record.camera})
        case UploadExample():
            found = _query_by_upload(services, caller, given, hooks)
        case SourceExample():
            source = visible_source(services, caller, given.source)
            found = _query_by_source(services, source, given, hooks)
            found.description["camera"] = source.camera  # as the caller pointed at it
    description = {
        name: value for name, value in found.description.items() if name not in ("video", "images")
    }
    span = None if found.span is None else list(found.span)
    return NewExample(
        None, {"kind": found.kind, **description, "span": span}, found.crops[:_MAX_CROPS], found.embedding
    )


def _query_by_upload(services: Services, caller: Caller, given: UploadExample, hooks: Hooks) -> queries.Query:
    uploads, config = services.uploads, services.config
    upload = uploads.get(given.upload, caller.name)
    with services.networks.embedder() as embedder:
        if upload.kind == "picture":
            image, _ = uploads.frame(upload.id, caller.name)
            return queries.query_by_pictures([(image, _box(given.box))], embedder, config, ["the upload"])
        box = _box(given.box)
        if box is None:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a clip needs a box around the person at a moment")
        frames = uploads.frames(
            upload.id, caller.name, given.at_s - queries.TRACK_S, given.at_s + queries.TRACK_S
        )
        return queries.query_by_frames(
            frames, given.at_s, box, embedder, config,
            name="the upload", frame_rate=upload.frame_rate, hooks=hooks,
        )  # fmt: skip


def _query_by_source(
    services: Services, source: SourceRecord, given: SourceExample, hooks: Hooks
) -> queries.Query:
    file = shown_file(source)
    if file is None:
        raise Refused(HTTPStatus.NOT_FOUND, "the recording is not at hand, or must not be shown")
    box = _box(given.box)
    assert box is not None
    with services.networks.embedder() as embedder:
        return queries.query_by_video(
            services.gallery, file, given.at_s, box, embedder, services.config, hooks, "the recording"
        )


def _box(given: list[float] | None) -> Box | None:
    if given is None:
        return None
    left, top, right, bottom = given
    return left, top, right, bottom


class Notes(Hooks):
    """Collects what a user should read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)
