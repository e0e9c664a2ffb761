"""What can go wrong with a gallery: each error is one line that names the thing and the mend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class GalleryError(ValueError):
    """A request that this gallery cannot serve; the message says what to do instead."""


class GalleryNotFound(GalleryError):
    """There is no gallery at the folder."""


class GalleryMismatch(GalleryError):
    """Folder and database do not belong together, or a database URL is missing, superfluous or unusable."""


class GalleryDamaged(GalleryError):
    """A file of the gallery is not what it should be."""


class GalleryReadOnly(GalleryError):
    """A write was asked of a gallery opened for reading, or lying where nothing can be written."""


class NewerSchema(GalleryError):
    """A newer Retrace made the database."""


class OlderSchema(GalleryError):
    """An older Retrace made the database, and it was opened for reading, so it cannot be upgraded."""


class WrongEmbedder(GalleryError):
    """A query was embedded by another model than the gallery's current generation."""


class GenerationChanged(GalleryError):
    """New tracklets were embedded by another model than the gallery's current generation."""


class GenerationNotFound(GalleryError):
    """No generation of embeddings has that id (or there is none to roll back to)."""


class GenerationIncomplete(GalleryError):
    """Too many tracklets lack an embedding in the generation that should become the current one."""


class TrackletNotFound(GalleryError):
    """No tracklet has that id, or it was deleted."""


class CropsExpired(GalleryError):
    """Retention has deleted the pictures of a tracklet that is otherwise still there."""


class RuleNotFound(GalleryError):
    """No retention rule is for that camera."""


class HeldByCase(GalleryError):
    """What a case under legal hold is about was to be deleted."""


class SourceNotFound(GalleryError):
    """No source has that id."""


class GapNotFound(GalleryError):
    """No gap has that id, or its source was begun anew."""


class WatchNotFound(GalleryError):
    """No watch has that id."""


class WatchExists(GalleryError):
    """Another watch has that name."""


class CaseNotFound(GalleryError):
    """No case has that id."""


class CaseExists(GalleryError):
    """Another case has that name."""


class CaseHeld(GalleryError):
    """The case is under legal hold: nothing of it may be deleted."""


class SearchNotFound(GalleryError):
    """No search has that id."""


class UserNotFound(GalleryError):
    """No user has that id, or the account is disabled."""


class UserExists(GalleryError):
    """Another user has that name."""


class LastAdmin(GalleryError):
    """Nobody would be left to administrate."""


class TokenNotFound(GalleryError):
    """No API token has that id."""


class GalleryFull(OSError):
    """The disk or the quota is full; what was stored before is whole."""


class DatabaseUnavailable(ConnectionError):
    """The database does not answer, or another process holds its write lock for too long."""


def full(place: Path | str) -> GalleryFull:
    """The error for a full disk at `place`."""
    reason = "no space left: free some and run again, what was stored is whole"
    return GalleryFull(errno.ENOSPC, reason, str(place))


def read_only(place: Path | str) -> GalleryReadOnly:
    """The error for a write to a gallery at `place` that was opened for reading."""
    return GalleryReadOnly(f"{place} cannot be written: copy the gallery to a writable disk")


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turns a full or read-only disk met inside the block into an error naming the gallery's folder."""
    try:
        yield
    except GalleryFull:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full(place) from error
        if error.errno == errno.EROFS:
            raise read_only(place) from error
        raise
