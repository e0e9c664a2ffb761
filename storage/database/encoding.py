"""How arrays lie in the database: little-endian bytes, embeddings as float16, trajectories compressed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from storage.errors import GalleryDamaged
from storage.records import Float32Array, Int32Array, Trajectory

_FRAME_BYTES = 4 + 8 + 16 + 4  # index, time stamp, box, confidence
_ZLIB_LEVEL = 3  # boxes are noisy: higher levels cost time and save next to nothing


def pack_ints(values: npt.NDArray[np.int32]) -> bytes:
    """(K,) int32 as bytes."""
    return values.astype("<i4").tobytes()


def pack_lengths(crops: Sequence[bytes]) -> bytes:
    """The size of each crop, packed."""
    return pack_ints(np.array([len(crop) for crop in crops], np.int32))


def unpack_ints(packed: bytes) -> Int32Array:
    """The reverse of `pack_ints`."""
    return np.frombuffer(packed, "<i4").astype(np.int32)


def pack_vectors(vectors: Float32Array) -> list[bytes]:
    """(N, D) float32 as N byte strings of float16."""
    return [row.tobytes() for row in vectors.astype("<f2")]


def unpack_vectors(packed: Sequence[bytes], dimension: int) -> Float32Array:
    """The reverse of `pack_vectors`, with the norm that float16 rounding moved set back to 1.

    Returns:
        (N, D) float32.

    Raises:
        GalleryDamaged: A row has another length than `dimension` float16 numbers.
    """
    if any(len(row) != 2 * dimension for row in packed):
        raise GalleryDamaged(f"an embedding lacks {dimension} numbers: restore the database from a backup")
    vectors = np.frombuffer(b"".join(packed), "<f2").reshape(-1, dimension).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def pack_trajectory(trajectory: Trajectory) -> bytes:
    """All arrays of a trajectory in one compressed byte string."""
    parts = (
        trajectory.frame_indices.astype("<i4"),
        trajectory.timestamps.astype("<f8"),
        trajectory.xyxy.astype("<f4"),
        trajectory.confidence.astype("<f4"),
    )
    return zlib.compress(b"".join(part.tobytes() for part in parts), _ZLIB_LEVEL)


def unpack_trajectory(packed: bytes) -> Trajectory:
    """The reverse of `pack_trajectory`.

    Raises:
        GalleryDamaged: The bytes are not a trajectory.
    """
    try:
        raw = zlib.decompress(packed)
    except zlib.error as error:
        raise GalleryDamaged(
            f"a trajectory is damaged ({error}): restore the database from a backup"
        ) from error
    length = len(raw) // _FRAME_BYTES
    return Trajectory(
        frame_indices=np.frombuffer(raw, "<i4", length).astype(np.int32),
        timestamps=np.frombuffer(raw, "<f8", length, 4 * length).astype(np.float64),
        xyxy=np.frombuffer(raw, "<f4", 4 * length, 12 * length).astype(np.float32).reshape(length, 4),
        confidence=np.frombuffer(raw, "<f4", length, 28 * length).astype(np.float32),
    )
