"""One upload while it comes in: its bytes go to a private file, are unpacked apart, and are gone."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from pipeline.crops import encode_jpeg
from pipeline.file_formats import HEAD_BYTES, UnknownFormat, sniff
from pipeline.sandbox import ChildFailed, unpack
from pipeline.types import Image
from pipeline.upload_records import Kind, Upload, UploadLimits, UploadRefused, refusal, too_large

_PICTURE_QUALITY, _FRAME_QUALITY = 95, 92


class Reception:
    """Receives one upload into a folder that nobody else can read, and that its maker deletes afterwards.

    Args:
        folder: is empty; what is to stay is moved out of it.
        claimed_size: the length that the sender announced, if any.
        turn: is entered while the file is decoded.
        take_room: told of bytes before they are written; raises when there is no room for them.
    """

    def __init__(
        self,
        folder: Path,
        owner: str,
        claimed_size: int | None,
        limits: UploadLimits,
        turn: Callable[[], AbstractContextManager[None]],
        take_room: Callable[[int], None],
    ) -> None:
        self._folder = folder
        self._owner = owner
        self._claimed = claimed_size
        self._limits = limits
        self._turn = turn
        self._take_room = take_room
        self._head = b""
        self._size = 0
        self._kind: Kind | None = None

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            UploadRefused: by now it is too large, or of no kind that is taken, or its owner has too much.
            UploadsBusy: the room for uploads is used up.
        """
        self._size += len(chunk)
        self._head += chunk[: HEAD_BYTES - len(self._head)]
        if self._kind is None and len(self._head) >= HEAD_BYTES:
            self._kind = _kind_of(self._head)
        most = self._limits.picture_bytes if self._kind == "picture" else self._limits.clip_bytes
        if self._size > most:
            raise too_large(self._kind, self._limits)
        self._take_room(len(chunk))
        with _private(self._folder / "original") as file:
            file.write(chunk)

    def finish(self) -> Upload:
        """Unpack and keep what has come.

        Raises:
            UploadRefused: it is not complete, or nothing that is taken, or its owner has too much.
            UploadsBusy: no turn to decode it came in time, or the room for uploads is used up.
        """
        kind = self._kind or _kind_of(self._head)
        if self._claimed is not None and self._size != self._claimed:
            raise UploadRefused(
                f"the upload broke off: {self._size} of {self._claimed} bytes came; upload it again"
            )
        if kind == "picture" and self._size > self._limits.picture_bytes:
            raise too_large(kind, self._limits)
        with self._turn():
            upload, sizes = self._unpack(kind)
        ready = self._folder / "ready"
        with _private(ready / "upload.json") as file:
            kept = {"owner": self._owner, "sizes": sizes, "upload": asdict(upload)}
            file.write(json.dumps(kept).encode())
        ready.rename(self._folder.parent / upload.id)
        return upload

    def _unpack(self, kind: Kind) -> tuple[Upload, list[int]]:
        original, ready = self._folder / "original", self._folder / "ready"
        ready.mkdir(mode=0o700)
        quality = _PICTURE_QUALITY if kind == "picture" else _FRAME_QUALITY
        times: list[float] = []
        sizes: list[int] = []
        shape = (0, 0)
        try:
            with _private(ready / "frames.mjpeg") as frames:

                def keep(time_s: float, image: Image) -> None:
                    nonlocal shape
                    if kind == "picture":
                        image = _shrunk(image, self._limits.picture_kept_side_px)
                    jpeg = encode_jpeg(image, quality, fine_colours=True)
                    times.append(time_s)
                    sizes.append(len(jpeg))
                    shape = image.shape[:2]
                    if sum(sizes) > self._limits.kept_bytes:
                        raise ChildFailed("kept too large")
                    self._take_room(len(jpeg))
                    frames.write(jpeg)

                end = unpack(original, self._limits.bounds(), self._limits.wall_s, keep)
        except ChildFailed as error:
            raise refusal(error.reason, self._limits) from error
        finally:
            original.unlink()
        name = secrets.token_hex(16)
        height, width = shape
        return Upload(name, kind, width, height, end.duration_s, tuple(times), end.num_damaged), sizes


def _kind_of(head: bytes) -> Kind:
    try:
        return "clip" if sniff(head) in ("mp4", "matroska", "avi") else "picture"
    except UnknownFormat as error:
        raise UploadRefused(str(error)) from error


def _shrunk(image: Image, side_px: int) -> Image:
    """The picture with its longer side of at most so many pixels."""
    scale = side_px / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _private(path: Path) -> BinaryIO:
    """A file to append to that only its owner may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb")
