"""The gallery: the only door to what is kept (tracklets, their crops and embeddings, search over them)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from storage import intake, upkeep
from storage.accounts import Accounts
from storage.audit import AuditTrail
from storage.browse_records import CameraView, NewView, TimeLine, ViewState
from storage.cases import Cases
from storage.database import browsing, camera_views, gaps, generations, holds, sources, time_lines
from storage.database import tracklets as rows
from storage.database.engine import Database
from storage.erasure import AuditNote, Eraser, Erasure, ErasurePlan
from storage.errors import GalleryDamaged, TrackletNotFound
from storage.folder import FolderMark, GalleryFolder
from storage.generations import Generations
from storage.media import MediaFolder
from storage.opening import open_parts
from storage.records import (
    CameraSummary,
    EmbedderSpec,
    Float32Array,
    GalleryFilter,
    Gap,
    Hit,
    Int32Array,
    NewTracklet,
    SourceRecord,
    SourceStatus,
    TrackletRecord,
    Trajectory,
    camera_name,
    json_object,
    readable,
    unit_vectors,
)
from storage.retention import Retention
from storage.search import GalleryIndex
from storage.snapshot import SnapshotFolder
from storage.watching import WatchList

EVERYTHING = GalleryFilter()

_Read = TypeVar("_Read")

_PAGE = 1000
_SEARCH_ATTEMPTS = 5


class Gallery:
    """One gallery: a folder, and a database in it (SQLite) or elsewhere (PostgreSQL). Made by `Gallery.open`.

    Any number of processes may open it at once, and any number of threads may use one object. What one of
    them committed, the next call of every other one sees. Writers take turns.

    Attributes:
        folder: Absolute path.
        work_folder: Scratch space of running processes; of what dead ones left, `sweep` removes what is
            named tmp*.
        uuid: Tells galleries apart.
        backend: "sqlite" or "postgresql".
        read_only: Whether writes are refused: that was asked for, or the disk cannot be written.
        watching: The watch list, and the alerts that it raised.
        accounts: Who may use it, and how they prove who they are.
        audit: Who did what.
        cases: Cases, searches and decisions.
        generations: The embeddings of each model, and which of them searches use.
        retention: What leaves when it is too old.
    """

    def __init__(self, folder: GalleryFolder, mark: FolderMark, database: Database) -> None:
        self.folder = folder.root
        self.work_folder = folder.work
        self.uuid = mark.uuid
        self.backend = mark.backend
        self.read_only = database.read_only
        self._database = database
        self._media = MediaFolder(folder.media)
        self._snapshots = SnapshotFolder(folder.index)
        self.watching = WatchList(database, self._media)
        self.accounts = Accounts(database)
        self.audit = AuditTrail(database)
        self.cases = Cases(database)
        self.generations = Generations(database)
        self._index = GalleryIndex(database, self._snapshots, mark.uuid)
        self.retention = Retention(database, self._media, self._snapshots, self._index.refresh_if_loaded)
        self._eraser = Eraser(folder, mark, database, self._media, self._snapshots, self._index)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        url: str | None = None,
        create: bool = False,
        read_only: bool = False,
        alone: bool = False,
    ) -> Gallery:
        """Opens the gallery at `folder`. Close it after use, or use it in a `with` statement.

        Args:
            folder: Where the crops lie, and the database unless it is PostgreSQL.
            url: Of a PostgreSQL database, for example "postgresql+psycopg://user:password@host/name".
            create: Make the gallery if there is none.
            read_only: Refuse writes. A gallery on a disk that cannot be written is opened so by itself.
            alone: Keep other processes out of a SQLite database while it is open. Then they share no memory,
                for which a full disk may have no room: so things can be deleted there.

        Raises:
            GalleryNotFound: There is none and `create` is not set.
            GalleryMismatch: The URL is missing, superfluous or unusable, or of another gallery's database.
            NewerSchema: A newer Retrace made the database.
            OlderSchema: An older Retrace made it, and opened for reading it cannot be upgraded.
            GalleryDamaged: A file is missing or is not what it should be.
            DatabaseUnavailable: The database server does not answer.
            GalleryFull: The disk is full.
        """
        place = GalleryFolder(Path(folder).absolute())
        return cls(place, *open_parts(place, url, create=create, read_only=read_only, alone=alone))

    def close(self) -> None:
        """Saves the index snapshot if worth while, and closes every connection."""
        try:
            self._index.close()
        finally:
            self._database.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What this thread writes in the block is committed together at its end, or not at all.

        For accounts, cases, rules and the audit trail, so that nothing is done that the trail does not tell.
        Not for what has files: tracklets, their deletion and erasure have transactions of their own. Others
        cannot write meanwhile, so it should be short.
        """
        with self._database.writing():
            yield

    # Sources

    def begin_source(
        self,
        camera: str,
        uri: str,
        fingerprint: str,
        start: float,
        settings_hash: str,
        *,
        live: bool = False,
        masked: bool = False,
    ) -> SourceRecord:
        """The source with this fingerprint in this camera: as it stands if it is known, else a new one.

        Args:
            uri: Where it was found, for people to read.
            fingerprint: Of its content or address.
            start: Time of its first frame, seconds UTC.
            settings_hash: Of everything that shapes its tracklets.
            live: Whether it is a camera's stream.
            masked: Whether parts of its pictures are blacked out. One that is known is masked from then on.

        Raises:
            ValueError: The camera's name cannot be kept, or `start` is not a finite number.
        """
        camera = camera_name(camera)
        values = {
            "camera": camera,
            "uri": readable(uri),
            "fingerprint": fingerprint,
            "start": _time("start", start),
            "settings_hash": settings_hash,
            "live": bool(live),
            "masked": bool(masked),
        }
        with self._database.reading() as connection:
            found = sources.find(connection, camera, fingerprint)
        if found is not None and (found.masked or not masked or self.read_only):
            return found
        with self._database.writing() as connection:
            found = sources.find(connection, camera, fingerprint)  # another process may have been quicker
            if found is None:
                return sources.insert(connection, values)
            sources.update(connection, found.id, {"masked": found.masked or bool(masked)})
            return sources.get(connection, found.id)

    def restart_source(
        self,
        source_id: int,
        *,
        settings_hash: str | None = None,
        start: float | None = None,
        uri: str | None = None,
        masked: bool | None = None,
    ) -> SourceRecord:
        """Deletes all that a source gave (tracklets, gaps) in one transaction and sets it to running.

        Args:
            settings_hash, start, uri, masked: What to remember from now on; None leaves it as it is.

        Raises:
            HeldByCase: A case under legal hold is about one of these tracklets.
        """
        values: dict[str, Any] = {"status": "running", "num_frames_done": 0, "counts": {}, "end": None}
        new = {
            "settings_hash": settings_hash,
            "start": None if start is None else float(start),
            "uri": None if uri is None else readable(uri),
            "masked": None if masked is None else bool(masked),
        }
        values |= {name: value for name, value in new.items() if value is not None}
        with self._database.writing() as connection:
            sources.update(connection, source_id, values)
            ids = rows.of_source(connection, source_id)
            holds.refuse_held(connection, ids, f"source {source_id} cannot be begun anew")
            rows.delete(connection, ids)
            rows.forget_erased(connection, source_id)
            gaps.delete_of_source(connection, source_id)
            record = sources.get(connection, source_id)
        if ids:
            upkeep.remove_traces(self._database, self._media, self._snapshots, ids)
            self._index.refresh_if_loaded()
        return record

    def stored_tracklets(self, source_id: int) -> dict[tuple[int, int], int]:
        """Number of frames of each stored tracklet of a source, by (track_id, first frame)."""
        with self._database.reading() as connection:
            return {key: stored.num_frames for key, stored in rows.keys(connection, source_id).items()}

    def update_source(self, source_id: int, num_frames_done: int, end: float | None = None) -> None:
        """Notes how far the run has come.

        Args:
            end: Time of the last analysed frame, seconds UTC; None leaves it as it is.
        """
        values: dict[str, Any] = {"num_frames_done": int(num_frames_done)}
        if end is not None:
            values["end"] = _time("end", end)
        with self._database.writing() as connection:
            sources.update(connection, source_id, values)

    def finish_source(
        self, source_id: int, counts: Mapping[str, Any], status: SourceStatus = "complete"
    ) -> None:
        """Ends a source's run; no more will be known of its tracklets.

        Args:
            status: "complete", or "interrupted" for a live run that died.

        Raises:
            ValueError: `counts` is not JSON, or `status` is no end.
        """
        if status not in ("complete", "interrupted"):
            raise ValueError(f"a source ends as complete or interrupted, not as {status}")
        values = {"status": status, "counts": json_object("counts", counts)}
        with self._database.writing() as connection:
            sources.update(connection, source_id, values)
            rows.finish_source(connection, source_id)
            rows.forget_erased(connection, source_id)

    def live_sources(self, camera: str) -> list[SourceRecord]:
        """The running live sources of one camera, oldest first: all but its newest run have died."""
        with self._database.reading() as connection:
            return sources.live(connection, camera_name(camera))

    def sources(self) -> list[SourceRecord]:
        """All sources, oldest first."""
        with self._database.reading() as connection:
            return sources.every(connection)

    def newest_sources(
        self, limit: int, *, cameras: Iterable[str] | None = None, before: int | None = None
    ) -> list[SourceRecord]:
        """Up to `limit` sources, newest first.

        Args:
            cameras: Only those of these cameras.
            before: Only those with a lower id: the page behind the one that ended with it.
        """
        with self._database.reading() as connection:
            return sources.newest(connection, cameras, before, limit)

    def source(self, source_id: int) -> SourceRecord:
        """One source.

        Raises:
            SourceNotFound: It does not exist (any more).
        """
        with self._database.reading() as connection:
            return sources.get(connection, source_id)

    def source_of(self, tracklet_id: int) -> SourceRecord:
        """The source that a tracklet is from.

        Raises:
            TrackletNotFound: The tracklet does not exist (any more).
        """
        with self._database.reading() as connection:
            found = sources.of_tracklet(connection, tracklet_id)
        if found is None:
            raise TrackletNotFound(f"no tracklet has the id {tracklet_id}: list them with 'tracklets'")
        return found

    # Gaps

    def begin_gap(self, source_id: int, start: float, reason: str) -> int:
        """Notes that a source gives no frames from `start` (seconds UTC) on; returns the gap's id.

        Raises:
            SourceNotFound: The source does not exist (any more).
        """
        start = _time("start", start)
        with self._database.writing() as connection:
            sources.get(connection, source_id)
            return gaps.begin(connection, source_id, start, readable(reason))

    def end_gap(self, gap_id: int, end: float) -> None:
        """Notes when frames came again (seconds UTC); a clock that was set back ends it where it began.

        Raises:
            GapNotFound: The gap does not exist (any more).
        """
        end = _time("end", end)
        with self._database.writing() as connection:
            gaps.end(connection, gap_id, end)

    def gaps(self, filter: GalleryFilter = EVERYTHING, limit: int | None = None) -> list[Gap]:
        """Gaps of a filter's cameras that overlap its time range, by start.

        Args:
            filter: Its cameras and time range count.
            limit: At most so many, the newest ones.
        """
        with self._database.reading() as connection:
            return gaps.passing(connection, filter, limit)

    # Tracklets

    def add_tracklets(
        self,
        source_id: int,
        tracklets: Sequence[NewTracklet],
        spec: EmbedderSpec,
        *,
        refining: Collection[tuple[int, int]] = (),
    ) -> list[int]:
        """Stores tracklets with crops and embeddings: all of them or, if anything fails, none.

        A tracklet that is stored already (same source, track_id and first frame) is replaced, under its id,
        if the one given has more frames, and stays as it is if not; one given as finished is finished from
        then on unless more of it is stored. What is replaced loses the embeddings of other generations. The
        first tracklets of an empty gallery make `spec` its current generation.

        Args:
            spec: What made the embeddings.
            refining: Keys (track_id, first frame) that the caller has stored before: one of them that is not
                there any more was deleted, and is left out, as is always what was erased.

        Returns:
            The id of each tracklet that is stored now, in the order given.

        Raises:
            GenerationChanged: The gallery's current embeddings are by another model.
            SourceNotFound: The source does not exist (any more).
            ValueError: An embedding has another length than `spec` says.
            GalleryFull: The disk is full.
        """
        if not tracklets:
            return []
        return intake.add_tracklets(self._database, self._media, source_id, tracklets, spec, refining)

    def tracklets(
        self,
        filter: GalleryFilter = EVERYTHING,
        *,
        after_id: int | None = None,
        after: tuple[float, int] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[TrackletRecord]:
        """Tracklets that pass the filter, ordered by (start, id), read page by page as they are asked for.

        Each page takes milliseconds, wherever it begins and whatever the filter leaves out of millions.

        Args:
            after_id: Begin behind this tracklet.
            after: Begin behind this (start, id), whether or not that tracklet still exists.
            limit: At most so many.
            newest_first: In falling instead of rising order.

        Raises:
            TrackletNotFound: `after_id` does not exist (any more).
            ValueError: Both `after_id` and `after` are given.
        """
        if after_id is not None:
            if after is not None:
                raise ValueError("give after_id or after, not both")
            after = (self.tracklet(after_id).start, after_id)
        place = None if after is None else (_time("after", after[0]), int(after[1]))
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(limit, _PAGE)
            with self._database.reading() as connection:
                page = browsing.page(
                    connection, self._media.thumbnail, filter, place, size, newest_first=newest_first
                )
            yield from page
            if len(page) < size:
                return
            place = (page[-1].start, page[-1].id)
            limit = None if limit is None else limit - len(page)

    def time_line(
        self,
        filter: GalleryFilter = EVERYTHING,
        start: float | None = None,
        end: float | None = None,
        num_bins: int = 200,
    ) -> TimeLine:
        """How many tracklets of each camera began when.

        A tracklet counts where it begins: one that began before the range and lasts into it does not. Up to
        50,000 tracklets are counted one by one, in bins that divide the range evenly. When there are more,
        bins are of whole hours, and so is the range then: it is widened to the hours of its two ends, and
        `min_quality` and `exclude_span` are left aside, which `TimeLine.exact` tells. Without either of the
        two, bins of an hour and more are always of whole hours.

        Args:
            filter: Its time range narrows the range; cameras that it lets pass are all in the answer.
            start, end: The range, seconds UTC, both included; None: that of the filter, and if that is open,
                from the first to the last tracklet of its cameras.
            num_bins: At most so many.

        Raises:
            ValueError: `num_bins` is below 1, or the range is not one.
        """
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {num_bins}")
        bounds = GalleryFilter(start=start, end=end)  # checks them
        with self._database.reading() as connection:
            return time_lines.time_line(connection, filter, bounds.start, bounds.end, int(num_bins))

    def arrived(self, after_id: int, cameras: Iterable[str] | None = None) -> tuple[int, int]:
        """The newest tracklet's id, and how many came in behind `after_id`.

        Args:
            cameras: Count those of these cameras only; None: of all.
        """
        with self._database.reading() as connection:
            return rows.arrived(connection, after_id, cameras)

    def newest_tracklet_id(self, cameras: Iterable[str] | None = None) -> int:
        """The highest id of a tracklet of these cameras (None: of all); 0 where there is none."""
        with self._database.reading() as connection:
            return rows.newest_id(connection, cameras)

    def tracklet(self, tracklet_id: int) -> TrackletRecord:
        """One tracklet.

        Raises:
            TrackletNotFound: It does not exist (any more); likewise below.
        """
        found = self.records([tracklet_id])
        if tracklet_id not in found:
            raise TrackletNotFound(f"no tracklet has the id {tracklet_id}: list them with 'tracklets'")
        return found[tracklet_id]

    def records(self, ids: Iterable[int]) -> dict[int, TrackletRecord]:
        """Those of the tracklets that exist, by id."""
        with self._database.reading() as connection:
            return rows.records(connection, self._media.thumbnail, ids)

    def trajectory(self, tracklet_id: int) -> Trajectory:
        """Where a tracklet was, frame by frame."""
        with self._database.reading() as connection:
            return rows.trajectory(connection, tracklet_id)

    def crops(self, tracklet_id: int, which: Sequence[int] | None = None) -> list[bytes]:
        """The JPEG crops of a tracklet in time order, or those numbered `which`, in that order.

        Raises:
            CropsExpired: Retention has deleted them.
            GalleryDamaged: Their file is missing or cut short.
            IndexError: `which` names a crop that does not exist.
        """
        return self._read(
            tracklet_id, lambda version, sizes: self._media.read(tracklet_id, version, sizes, which)
        )

    def thumbnail(self, tracklet_id: int) -> bytes:
        """The JPEG file at `TrackletRecord.thumbnail`, also while the tracklet is being refined.

        Raises:
            CropsExpired: Retention has deleted it.
            GalleryDamaged: The file is missing.
        """
        return self._read(tracklet_id, lambda version, _: self._media.read_thumbnail(tracklet_id, version))

    def _read(self, tracklet_id: int, read: Callable[[int, Int32Array], _Read]) -> _Read:
        """What `read` makes of a tracklet's media version and crop sizes."""
        tried = -1
        while True:
            with self._database.reading() as connection:
                version, sizes = rows.crops(connection, tracklet_id)
            try:
                return read(version, sizes)
            except GalleryDamaged:
                if version == tried:
                    raise
                tried = version  # else the tracklet may have been refined since its row was read

    def crop_positions(self, tracklet_id: int) -> Int32Array:
        """(K,) position of each crop among the frames of the trajectory."""
        with self._database.reading() as connection:
            return rows.crop_positions(connection, tracklet_id)

    def embedding(self, tracklet_id: int, generation: int | None = None) -> Float32Array:
        """(D,) float32, norm 1: the stored embedding, of the current generation unless one is named."""
        with self._database.reading() as connection:
            if generation is not None:
                return generations.vector(connection, tracklet_id, generations.get(connection, generation))
            current = generations.with_status(connection, "current")
            if current is None:
                raise TrackletNotFound(
                    f"no tracklet has the id {tracklet_id}: the gallery is empty, run ingest first"
                )
            return generations.vector(connection, tracklet_id, current)

    def embeddings(self, ids: Iterable[int], generation: int) -> tuple[list[int], Float32Array]:
        """The stored embeddings of those of `ids` that have one in a generation.

        Returns:
            The ids (N,), rising, and their embeddings, (N, D) float32 of norm 1.

        Raises:
            GenerationNotFound: The generation does not exist (any more).
        """
        wanted = np.unique(np.fromiter(ids, np.int64))
        in_memory = self._index.embeddings(wanted, generation)
        if in_memory is not None:
            return in_memory[0].tolist(), in_memory[1]
        with self._database.reading() as connection:
            return generations.vectors(connection, wanted.tolist(), generation)

    def num_frames(self, ids: Iterable[int]) -> dict[int, int]:
        """The number of frames of those of `ids` that exist: it changes when a tracklet is refined."""
        with self._database.reading() as connection:
            return rows.num_frames(connection, ids)

    def delete_tracklets(self, ids: Iterable[int]) -> int:
        """Deletes tracklets for good: rows, embeddings of every generation, crops, index entries, snapshots.

        Other processes leave them out from their next call on. Ids that do not exist are ignored, and what a
        case under legal hold is about stays. With SQLite on a full disk their crops go first, to make the
        room that the deletion of rows needs: give some hundred ids at once.

        Returns:
            How many there were.

        Raises:
            GalleryFull: Not even that made enough room.
        """
        deleted = upkeep.delete_tracklets(self._database, self._media, self._snapshots, ids)
        self._index.refresh_if_loaded()
        return deleted

    def oldest_tracklets(
        self, limit: int, before: float | None = None, cameras: Iterable[str] | None = None
    ) -> list[int]:
        """Up to `limit` ids of finished tracklets, by end, then id: what goes first.

        Those that a case holds are not among them, nor those of which an alert is still to be delivered.

        Args:
            before: Only those that ended before this time, seconds UTC.
            cameras: Only those of these cameras.
        """
        names = None if cameras is None else {camera_name(camera) for camera in cameras}
        free: list[int] = []
        after: tuple[float, int] | None = None
        with self._database.reading() as connection:
            while len(free) < limit:
                page = rows.oldest(connection, _PAGE, before, names, after)
                ids = [number for _, number in page]
                kept = set(holds.without_held(connection, ids))
                free += [number for number in ids if number in kept]
                if len(page) < _PAGE:
                    break
                after = page[-1]
        return free[:limit]

    # Erasure

    def would_erase(self, ids: Iterable[int], *, also_searches: Iterable[int] = ()) -> ErasurePlan:
        """What `erase` would delete.

        Raises:
            TrackletNotFound, SearchNotFound, HeldByCase: As `erase`.
        """
        return self._eraser.preview(ids, also_searches)

    def erase(
        self,
        ids: Iterable[int],
        *,
        actor: str,
        reason: str,
        origin: str = "",
        via: str = "",
        user_id: int | None = None,
        also_searches: Iterable[int] = (),
        now: float | None = None,
    ) -> Erasure:
        """Deletes tracklets of a person and all that shows them, in one transaction with its audit entry.

        That is, beside the tracklets: embeddings, alerts, decisions, the examples that they are, uploaded
        pictures of the searches and watches for them, searches and watches that have no example left, what
        the audit trail keeps of their pictures, the last frames of cameras of that time. Then files, index,
        and what the database's own files may still hold, for which SQLite's may have to be written anew. If
        it is interrupted after the transaction, `sweep` does the rest.

        Args:
            ids: Tracklets; none if `also_searches` names what to erase.
            actor: Who does it, for the audit trail; `origin`, `via` and `user_id` are noted there, too.
            reason: Why.
            also_searches: Searches whose uploaded examples show the same person.
            now: Seconds UTC; None asks the clock.

        Returns:
            What `check_erased` needs to know. It holds pieces of what was erased: drop it after the check.

        Raises:
            TrackletNotFound, SearchNotFound: One of them does not exist (any more); nothing was erased.
            HeldByCase: A case under legal hold is about one of them; nothing was erased.
            ValueError: There is no reason, or nothing to erase.
        """
        note = AuditNote(actor, reason, origin, via, user_id, time.time() if now is None else float(now))
        return self._eraser.erase(ids, also_searches, note)

    def check_erased(self, erased: Erasure) -> list[str]:
        """Looks for anything that an erasure left: rows, files, search results, and bytes in the files.

        Reads SQLite's files, index snapshots and scratch files whole. A PostgreSQL server's files are not
        looked into.

        Returns:
            What was found, a line each; nothing if the erasure is complete.
        """
        return self._eraser.check(erased)

    def free_bytes(self) -> int:
        """Room left on the disk of the gallery's folder."""
        return shutil.disk_usage(self.folder).free

    def counts(self) -> dict[str, int]:
        """Numbers of tracklets, sources, cameras, embeddings (of the current generation) and generations."""
        with self._database.reading() as connection:
            return rows.counts(connection)

    def cameras(self) -> list[CameraSummary]:
        """One summary per camera, by name."""
        with self._database.reading() as connection:
            return sources.cameras(connection)

    def set_camera_view(
        self,
        camera: str,
        state: ViewState,
        detail: str = "",
        frame: bytes | None = None,
        frame_time: float | None = None,
        now: float | None = None,
    ) -> None:
        """Notes what a camera does; see `CameraView`.

        Args:
            frame: Its picture, a JPEG file, masked as the camera is; None leaves the one that is there.
            frame_time: When that was taken, seconds UTC.
            now: Seconds UTC; None asks the clock.

        Raises:
            ValueError: No such state, no JPEG file, or a frame without its time.
        """
        updated = time.time() if now is None else now
        self.set_camera_views([NewView(camera, state, detail, updated, frame, frame_time)])

    def set_camera_views(self, views: Iterable[NewView]) -> None:
        """As `set_camera_view` for several cameras, in one transaction."""
        given = list(views)
        with self._database.writing() as connection:
            camera_views.put(connection, given)

    def camera_views(self, now: float | None = None) -> list[CameraView]:
        """What each camera does, by name: those of which a run or an ingest has said something.

        Args:
            now: Seconds UTC; None asks the clock.
        """
        with self._database.reading() as connection:
            return camera_views.every(connection, time.time() if now is None else float(now))

    def camera_frame(self, camera: str) -> bytes | None:
        """A camera's last picture, a JPEG file; None if there is none."""
        with self._database.reading() as connection:
            return camera_views.frame(connection, camera_name(camera))

    def sweep(self, *, grace_s: float = 3600.0, now: float | None = None) -> dict[str, int]:
        """Removes what processes that died left behind; safe beside a running ingest.

        Args:
            grace_s: Unfinished files younger than this may belong to a running process and stay.
            now: Seconds UTC; None asks the clock.

        Returns:
            "files_removed", and "tracklets_without_crops": rows whose files somebody else removed.
        """
        before = (time.time() if now is None else now) - grace_s
        return upkeep.sweep(self._database, self._media, self._snapshots, self.work_folder, before)

    # Search

    def num_searchable(self, cameras: Collection[str] | None = None) -> int:
        """How many tracklets the last search of this process could have found; 0 before the first.

        Args:
            cameras: Count those of these only; None counts all.
        """
        return len(self._index) if cameras is None else self._index.num_of(cameras)

    def search(
        self,
        queries: npt.NDArray[np.float32],
        spec: EmbedderSpec,
        top_k: int,
        filter: GalleryFilter = EVERYTHING,
    ) -> list[list[Hit]]:
        """The most similar tracklets, of all that any process had committed before the call.

        Args:
            queries: (Q, D) float32, norm 1.
            spec: What made the queries; must be what made the gallery's current embeddings.
            top_k: How many per query, at least 1.
            filter: Look only at these.

        Returns:
            For each query at most `top_k` hits by falling similarity, equal ones by rising id.

        Raises:
            WrongEmbedder: The current embeddings are by another model.
            ValueError: `queries` or `top_k` is not as described.
        """
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        checked = unit_vectors(queries, spec.dimension)
        checked = checked / np.linalg.norm(checked, axis=1, keepdims=True)
        for attempt in range(_SEARCH_ATTEMPTS):
            ranked = self._index.search(checked, spec, top_k, filter)
            wanted = {int(number) for ids, _ in ranked for number in ids}
            found = self.records(wanted)
            if len(found) == len(wanted) or attempt == _SEARCH_ATTEMPTS - 1:
                break  # else some were deleted in between: others take their places
        return [
            [
                Hit(found[int(number)], float(score))
                for number, score in zip(ids, scores, strict=True)
                if number in found
            ]
            for ids, scores in ranked
        ]


def _time(name: str, seconds: float) -> float:
    if not np.isfinite(seconds):
        raise ValueError(f"{name} must be seconds UTC, got {seconds}")
    return float(seconds)
