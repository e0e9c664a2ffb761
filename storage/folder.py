"""The folder of a gallery: what lies where, and the file that says which database belongs to it."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from storage.errors import GalleryDamaged, NewerSchema

_FORMAT = 1
_PRIVATE = 0o700


@dataclass(frozen=True)
class FolderMark:
    """What `gallery.json` says; no secrets.

    Attributes:
        uuid: The database holds the same one.
        backend: "sqlite" (the file `gallery.db`) or "postgresql" (found by URL).
    """

    uuid: str
    backend: str
    format: int = _FORMAT


@dataclass(frozen=True)
class GalleryFolder:
    """Where the parts of the gallery at `root` lie."""

    root: Path

    @property
    def mark_file(self) -> Path:
        return self.root / "gallery.json"

    @property
    def database_file(self) -> Path:
        return self.root / "gallery.db"

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def make(self) -> None:
        """Creates the folders that are missing, for this user alone: they hold faces and password hashes."""
        for folder in (self.root, self.media, self.index, self.work):
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)

    def has_crops(self) -> bool:
        """Whether any tracklet's files lie here."""
        return self.media.is_dir() and any(self.media.glob("*/*.jpg"))

    def read_mark(self) -> FolderMark | None:
        """What `gallery.json` says; None if there is none.

        Raises:
            GalleryDamaged: The file is not one of ours.
        """
        try:
            text = self.mark_file.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            mark = FolderMark(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise GalleryDamaged(f"{self.mark_file} cannot be read: restore it from a backup") from error
        if mark.format != _FORMAT:
            raise NewerSchema(
                f"{self.mark_file} has format {mark.format}, this Retrace knows {_FORMAT}: update it"
            )
        return mark

    def make_mark(self, backend: str) -> FolderMark:
        """Marks the folder as a gallery; if several processes try at once, all get the mark of the first."""
        fresh = FolderMark(uuid=str(uuid.uuid4()), backend=backend)
        temporary = self.temporary(self.mark_file)
        try:
            temporary.write_text(json.dumps(asdict(fresh), indent=2) + "\n", "utf-8")
            place_once(temporary, self.mark_file)
        finally:
            temporary.unlink(missing_ok=True)
        mark = self.read_mark()
        assert mark is not None
        return mark

    @staticmethod
    def temporary(file: Path) -> Path:
        """A name beside `file` that no other process uses."""
        return file.with_name(f".{file.name}.{uuid.uuid4().hex}")


def place_once(temporary: Path, final: Path) -> None:
    """Gives a finished file its final name unless there is one already; `temporary` may be left."""
    try:
        os.link(temporary, final)  # fails if `final` exists, which a rename would silently replace
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not final.exists():
            temporary.rename(final)
