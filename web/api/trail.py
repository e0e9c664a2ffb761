"""The audit trail: who searched for whom."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from storage.audit_records import AuditEntry
from web.access import AdminDep, ServicesDep
from web.answers import JPEG, After, CropNumber, PageSize, jpeg, paged, place
from web.api.tracklets import End, Start
from web.audit import note
from web.problems import Refused
from web.resources import AuditPage, AuditView, Verification

router = APIRouter(tags=["audit"])


@router.get("/audit")
def list_entries(
    services: ServicesDep,
    caller: AdminDep,
    actor: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$", examples=["ada"])] = None,
    action: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$", examples=["search"])] = None,
    start: Start = None,
    end: End = None,
    after: After = None,
    limit: PageSize = 100,
) -> AuditPage:
    """Rows of the trail, newest first."""
    behind = place(after, int)
    found = services.gallery.audit.entries(
        before=None if behind is None else behind[0],
        limit=limit + 1,
        actor=actor,
        action=action,
        start=start,
        end=end,
    )
    entries, following = paged(found, limit, lambda entry: (entry.seq,))
    return AuditPage(entries=[_view(entry) for entry in entries], next=following)


@router.get("/audit/verify")
def verify(
    services: ServicesDep,
    caller: AdminDep,
    head: Annotated[
        str | None,
        Query(
            pattern=r"^\d{1,18}:[0-9a-f]{64}$",
            description="a head noted down before",
            examples=["41:" + "9f0c" * 16],
        ),
    ] = None,
) -> Verification:
    """Go through the whole trail: is any row missing or altered?"""
    expected = None
    if head is not None:
        seq, _, digest = head.partition(":")
        expected = (int(seq), digest)
    found = services.gallery.audit.verify(expected)
    note(services, caller, "audit verified", {"ok": found.ok, "entries": found.entries})
    return Verification(
        ok=found.ok,
        entries=found.entries,
        head=f"{found.head[0]}:{found.head[1]}",
        problems=found.problems,
        erased_crops=found.erased_crops,
    )


@router.get("/audit/{seq}/crops/{number}", responses=JPEG, response_class=Response)
def crop(
    services: ServicesDep,
    caller: AdminDep,
    seq: Annotated[int, Path(ge=1, le=2**63 - 1, examples=[41])],
    number: CropNumber,
) -> Response:
    """A picture that was searched with, unless it was erased."""
    picture = services.gallery.audit.crop(seq, number)
    if picture is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such picture, or it was erased")
    return jpeg(picture)


def _view(entry: AuditEntry) -> AuditView:
    return AuditView(
        seq=entry.seq,
        time=entry.time,
        actor=entry.actor,
        origin=entry.origin,
        via=entry.via,
        action=entry.action,
        subject=entry.subject,
        num_crops=len(entry.crops),
        hash=entry.hash,
    )
