"""Weights, the state of the index, and re-indexing."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import APIRouter

from models import weights
from pipeline import inventory, reindex
from pipeline.embedding import Embedder, build_embedder, named_embedder
from pipeline.hooks import Hooks
from web.access import AdminDep, ServicesDep
from web.audit import note
from web.jobs import Job
from web.problems import Refused
from web.resources import EmbedderView, GenerationView, IndexState, JobView, NewReindex, WeightView

router = APIRouter(tags=["index"])

_log = logging.getLogger(__name__)


@router.get("/weights")
def list_weights(services: ServicesDep, caller: AdminDep) -> list[WeightView]:
    """Every weight with a card, and whether it is on this machine."""
    return [WeightView.model_validate({**row, "here": bool(row["here"])}) for row in inventory.of_weights()]


@router.get("/embedders")
def list_embedders(services: ServicesDep, caller: AdminDep) -> list[EmbedderView]:
    """With what the gallery can be embedded anew on this machine."""
    return [EmbedderView(embedder=name, weights=card) for name, card in inventory.of_embedders()]


@router.get("/index")
def index_state(services: ServicesDep, caller: AdminDep) -> IndexState:
    """What the gallery holds, and which embeddings answer."""
    job = services.jobs.newest
    return IndexState(
        gallery=services.gallery.uuid,
        backend=services.gallery.backend,
        counts=services.gallery.counts(),
        free_bytes=services.gallery.free_bytes(),
        without_crops=services.gallery.generations.num_without_crops(),
        generations=[GenerationView.model_validate(row) for row in reindex.status(services.gallery)],
        job=None if job is None else job_view(job),
    )


@router.post("/reindex", status_code=HTTPStatus.ACCEPTED)
def begin_reindex(services: ServicesDep, caller: AdminDep, given: NewReindex) -> JobView:
    """Embed the gallery anew with another embedder, beside the old one, then switch. Searches go on."""
    embedder = _loaded(given)  # what cannot run is refused before the job begins

    def work(hooks: Hooks) -> str:
        done = reindex.reindex(services.gallery, embedder, services.config.batch, hooks)
        note(services, caller, "re-index done", done.as_json())
        words = f"{done.tracklets} tracklets, {done.embedded} embedded now by {done.embedder}."
        return f"{words} {done.lost_words('going back to the previous embeddings')}".strip()

    note(services, caller, "re-index", {"embedder": str(embedder.spec)})
    return job_view(services.jobs.start("reindex", work))


@router.post("/reindex/rollback")
def roll_back(services: ServicesDep, caller: AdminDep) -> IndexState:
    """Go back to the embeddings before the last switch."""
    current = services.gallery.generations.roll_back()
    note(services, caller, "re-index rolled back", {"embedder": str(current.spec)})
    return index_state(services, caller)


def _loaded(given: NewReindex) -> Embedder:
    """The embedder asked for.

    Raises:
        UnknownPlugin: there is none of that name.
        Refused: it cannot run here with these weights.
    """
    settings = named_embedder(given.embedder)
    bundled = weights.default_embedder() if given.embedder == "ste_nvan" else None
    card = given.weights or bundled
    can_run = inventory.of_embedders()
    if (given.embedder, card) not in can_run:
        known = "; ".join(_words(*each) for each in can_run)
        raise Refused(422, f"{_words(given.embedder, card)} cannot run on this machine; what can: {known}")
    try:
        return build_embedder(settings.updated(weights=card))
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        _log.warning("%s cannot be loaded", _words(given.embedder, card), exc_info=error)
        raise Refused(
            422, f"{_words(given.embedder, card)} cannot be loaded: the server's log says why"
        ) from error


def _words(embedder: str, card: str | None) -> str:
    return f"{embedder} with the weights {card}" if card else f"{embedder} without weights"


def job_view(job: Job) -> JobView:
    """A job as the API shows it."""
    return JobView(
        kind=job.kind,
        step=job.step,
        done=job.done,
        total=job.total,
        state=job.state,
        message=job.message,
        started=job.started,
    )
