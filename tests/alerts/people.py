"""People in plain colours, stored as a run would store them."""

from __future__ import annotations

import numpy as np

from pipeline.config import load_config
from pipeline.crops import encode_jpeg
from pipeline.embedding import Embedder, embed_tracklets
from pipeline.live.settings import RunConfig
from storage.gallery import Gallery
from storage.records import NewTracklet

NOON = 1_760_000_400.0 // 86_400 * 86_400 + 43_200.0  # a Thursday, 12:00 UTC
CONFIG = RunConfig.model_validate(load_config().model_dump() | {"cameras": [{"name": "door", "uri": "0"}]})
SHIRTS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 50, 210), "white": (230, 230, 225)}


def picture(shirt: str, seed: int = 0) -> bytes:
    """JPEG of somebody in that shirt and grey trousers, a little different for each seed."""
    noise = np.random.default_rng(seed).integers(-12, 12, (96, 48, 3))
    image = np.full((96, 48, 3), 110)
    image[:12], image[12:55] = 150, SHIRTS[shirt]
    return encode_jpeg(np.clip(image + noise, 0, 255).astype(np.uint8), 92)


def store(
    gallery: Gallery,
    embedder: Embedder,
    *shirts: str,
    camera: str = "door",
    start: float = NOON,
    first: int = 0,
) -> list[int]:
    """One tracklet for each shirt, 2 s long; their ids."""
    source = gallery.begin_source(camera, camera, f"fingerprint of {camera}", NOON, "settings")
    crops = [tuple(picture(shirt, 10 * (first + i) + k) for k in range(3)) for i, shirt in enumerate(shirts)]
    rows = embed_tracklets(embedder, crops, 8)
    times = start + np.arange(5) / 2
    new = [
        NewTracklet(
            track_id=first + i,
            frame_indices=np.arange(5, dtype=np.int32),
            timestamps=times,
            xyxy=np.tile(np.array([10, 10, 58, 106], np.float32), (5, 1)),
            confidence=np.full(5, 0.9, np.float32),
            quality=0.8,
            crops=crops[i],
            crop_positions=np.arange(3, dtype=np.int32),
            thumbnail=1,
            embedding=row,
        )
        for i, row in enumerate(rows)
        if row is not None
    ]
    assert len(new) == len(shirts)
    return gallery.add_tracklets(source.id, new, embedder.spec)
