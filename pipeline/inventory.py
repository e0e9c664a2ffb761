"""Facts for `info`: what a gallery holds, what a model costs, what is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections import defaultdict
from collections.abc import Sequence
from time import time
from typing import Any

from models import weights
from pipeline import plugins
from pipeline.export import iso
from pipeline.reindex import status
from storage.gallery import Gallery
from storage.records import Gap

_PACKAGES = (
    "torch",
    "ultralytics",
    "opencv-python",
    "av",
    "faiss-cpu",
    "faiss-gpu",
    "numpy",
    "sqlalchemy",
    "openvino",
)
_LAST_GAPS = 5


def of_gallery(gallery: Gallery) -> dict[str, Any]:
    """Counts, cameras with their time spans and gaps, sources and their state, generations of embeddings."""
    gaps = defaultdict(list)
    for gap in gallery.gaps():
        gaps[gap.camera].append(gap)
    return {
        "folder": str(gallery.folder),
        "database": gallery.backend,
        **gallery.counts(),
        "camera_list": [
            {
                "camera": camera.camera,
                "sources": camera.num_sources,
                "tracklets": camera.num_tracklets,
                "start": None if camera.start is None else iso(camera.start),
                "end": None if camera.end is None else iso(camera.end),
                **_gaps(gaps[camera.camera]),
            }
            for camera in gallery.cameras()
        ],
        "source_list": [
            {
                "camera": source.camera,
                "uri": source.uri,
                "status": source.status,
                "start": iso(source.start),
                **source.counts,
            }
            for source in gallery.sources()
        ],
        "generations": status(gallery),
    }


def _gaps(gaps: Sequence[Gap]) -> dict[str, Any]:
    """How many there are, how long they last together (one without an end until now), and the last ones."""
    if not gaps:
        return {}
    seconds = sum((time() if gap.end is None else gap.end) - gap.start for gap in gaps)
    last = [
        {
            "start": iso(gap.start),
            "end": None if gap.end is None else iso(gap.end),
            "reason": gap.reason,
        }
        for gap in gaps[-_LAST_GAPS:]
    ]
    return {"gaps": len(gaps), "gaps_s": round(seconds, 1), "last_gaps": last}


def of_model(variant: str) -> dict[str, Any]:
    """Size and cost of one variant, counted on the network itself.

    Raises:
        ValueError: no such variant; the message lists them.
    """
    from models.complexity import count_multiply_adds, count_parameters
    from models.ste_nvan import build

    model = build(variant).eval()
    clip = (8, 3, 256, 128)
    return {
        "variant": variant,
        "clip": "8 x 3 x 256 x 128",
        "embedding_dimension": model.dimension,
        "multiply_adds": count_multiply_adds(model, clip),
        "parameters": count_parameters(model),
    }


def of_weights() -> list[dict[str, Any]]:
    """Every weight with a card, where it is on this machine, and the defaults marked."""
    defaults = (weights.DEFAULT_DETECTOR, weights.DEFAULT_DETECTOR_GPU, weights.DEFAULT_EMBEDDER)
    rows = []
    for card in weights.list_cards():
        try:
            found = weights.resolve(card.name, card.kind)
            here: str | None = "bundled" if found.bundled else str(found.path)
        except weights.MissingWeights:
            here = None
        rows.append(
            {
                "name": card.name,
                "kind": card.kind,
                "default": card.name in defaults,
                "licence": card.licence,
                "sha256": card.sha256,
                "here": here,
                "measured": card.measured,
            }
        )
    return rows


def of_embedders() -> list[tuple[str, str | None]]:
    """Embedders that can run on this machine, each with the name of weights; None: it needs none."""
    found: list[tuple[str, str | None]] = [("colour_stripes", None)]
    for card in weights.list_cards():
        if card.kind == "embedder":
            found += [(embedder, card.name) for embedder in _embedders_of(card)]
    return found


def _embedders_of(card: weights.WeightCard) -> list[str]:
    """Which embedders a card's file is for; none where it is not here, or damaged."""
    from models.checkpoint import read_metadata
    from models.ste_nvan import VARIANTS

    try:
        path = weights.resolve(card.name, card.kind).path
        if path.suffix == ".safetensors" and (header := read_metadata(path)):
            return [variant for variant in VARIANTS if variant == header.get("variant")]
    except (OSError, ValueError):
        return []
    if path.suffix == ".xml":
        return ["openvino_reid"] if importlib.util.find_spec("openvino") else []
    return list(VARIANTS) if path.suffix in (".safetensors", ".pth", ".pt") else []


def of_installation() -> dict[str, Any]:
    """Versions, devices and plug-ins."""
    import torch

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    kinds: tuple[plugins.Kind, ...] = ("detectors", "trackers", "embedders")
    return {
        "python": platform.python_version(),
        **versions,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        **{kind: plugins.available(kind) for kind in kinds},
    }
