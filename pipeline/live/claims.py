"""One process reads a camera into a gallery: a second one is refused, and a dead one holds nothing."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from storage.gallery import Gallery


@contextmanager
def claim_cameras(gallery: Gallery, cameras: Sequence[str]) -> Iterator[None]:
    """Hold the live cameras of a gallery while the context is open.

    Raises:
        ValueError: another process on this machine holds one of them.
    """
    gallery.work_folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for camera in cameras:
            name = hashlib.sha256(camera.encode()).hexdigest()[:16]
            file = stack.enter_context((gallery.work_folder / f"{name}.lock").open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it, however we end
            except BlockingIOError:
                raise ValueError(
                    f"camera '{camera}' is being read into {gallery.folder} by another process: stop that one"
                ) from None
        yield
