"""How long things are kept, and the erasure of a person."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from pipeline.hooks import Hooks
from storage import retention_records as retention
from web.access import AdminDep, ServicesDep
from web.api.index import job_view
from web.audit import audited, note
from web.housekeeping import apply_rules
from web.resources import DueView, ErasureRequest, ErasureView, JobView, Rule

router = APIRouter(tags=["retention and erasure"])


@router.get("/retention")
def list_rules(services: ServicesDep, caller: AdminDep) -> list[Rule]:
    """The rules, by camera; the camera "" is for all that have none of their own."""
    return [_rule(rule) for rule in services.gallery.retention.rules()]


@router.put("/retention")
def set_rule(services: ServicesDep, caller: AdminDep, given: Rule) -> Rule:
    """Set a camera's rule, or the default one. Nothing is deleted before the next round (ten minutes)."""
    rule = retention.Rule(given.camera, given.crops_days, given.embeddings_days, given.metadata_days)
    with audited(services, caller, "retention rule set", given.model_dump()):
        services.gallery.retention.set_rule(rule)
    return given


@router.delete("/retention", status_code=HTTPStatus.NO_CONTENT)
def remove_rule(
    services: ServicesDep, caller: AdminDep, camera: Annotated[str, Query(max_length=200, examples=["door"])]
) -> None:
    """Remove a camera's rule: the default one applies again, if there is one."""
    with audited(services, caller, "retention rule removed", {"camera": camera}):
        services.gallery.retention.remove_rule(camera)


@router.get("/retention/due")
def due(services: ServicesDep, caller: AdminDep) -> list[DueView]:
    """What the rules would delete now (a dry run), and what legal holds keep."""
    return [_due(each) for each in services.gallery.retention.due(services.clock())]


@router.post("/retention/apply", status_code=HTTPStatus.ACCEPTED)
def apply(services: ServicesDep, caller: AdminDep) -> JobView:
    """Apply the rules now; the job's progress comes with the events."""

    def work(hooks: Hooks) -> str:
        taken = apply_rules(services, caller, progress=lambda count: hooks.on_step("retention", count, None))
        return ", ".join(f"{count} {kind}" for kind, count in taken.items()) + " deleted"

    note(services, caller, "retention begun", {})
    return job_view(services.jobs.start("retention", work))


@router.post("/erasures")
def erase(services: ServicesDep, caller: AdminDep, given: ErasureRequest) -> ErasureView:
    """Erase a person: every trace of these tracklets. A dry run counts only; a real one checks afterwards."""
    ids = sorted(set(given.tracklets))
    gallery = services.gallery
    if given.dry_run:
        plan = gallery.would_erase(ids, also_searches=given.searches)
        return ErasureView(
            dry_run=True,
            tracklets=plan.counts["tracklets"],
            counts=plan.counts,
            searches=list(plan.searches),
            remaining=[],
        )
    done = gallery.erase(
        ids,
        actor=caller.name,
        reason=given.reason,
        origin=caller.address,
        via=caller.via,
        user_id=caller.user.id,
        also_searches=given.searches,
        now=services.clock(),
    )
    services.clips.forget(set(ids))
    services.uploads.clear()  # one of them may show the person
    return ErasureView(
        dry_run=False,
        tracklets=len(done.ids),
        counts=done.counts,
        searches=list(done.searches),
        remaining=gallery.check_erased(done),
    )


def _rule(rule: retention.Rule) -> Rule:
    return Rule(
        camera=rule.camera,
        crops_days=rule.crops_days,
        embeddings_days=rule.embeddings_days,
        metadata_days=rule.metadata_days,
    )


def _due(each: retention.Due) -> DueView:
    return DueView(
        camera=each.camera,
        crops=each.crops,
        embeddings=each.embeddings,
        tracklets=each.tracklets,
        held=each.held,
    )
