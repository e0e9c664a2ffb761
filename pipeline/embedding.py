"""Tracklets -> clips -> batches -> unit embeddings.

Clips are always made from the stored JPEG crops, at ingest as well as when an archive is embedded anew,
so that the same model gives the same vector both times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.preprocess import clip_indices
from pipeline import plugins
from pipeline.crops import decode_jpeg
from pipeline.plugins import PluginSettings, UnknownPlugin
from pipeline.types import CLIP_LENGTH, Image
from storage.errors import WrongEmbedder
from storage.gallery import Gallery
from storage.records import EmbedderSpec

Clip = list[Image]
Embedding = npt.NDArray[np.float32]


class Embedder(Protocol):
    """What an embedder plug-in gives.

    Attributes:
        spec: name, hashes and dimension: what makes its vectors comparable.
        fallback: None, or a sentence that every output repeats when this is not a trained person model.
        of_clips: embeds a clip as a whole, not the mean of its pictures one by one.
    """

    spec: EmbedderSpec
    fallback: str | None
    of_clips: bool

    def embed(self, clips: Sequence[Clip]) -> Embedding:
        """(N, D) float32, not normalised, of N clips of 8 RGB crops of any size."""


def named_embedder(name: str) -> PluginSettings:
    """Settings of an embedder by its plug-in's name or by a variant of the STE-NVAN family (`nvan`, ...).

    `ste_nvan` is both; as a name it means the variant.

    Raises:
        UnknownPlugin: neither; the message lists both.
    """
    from models.ste_nvan import VARIANTS

    if name in VARIANTS:
        return PluginSettings.model_validate({"name": "ste_nvan", "variant": name})
    names = plugins.available("embedders")
    if name in names:
        return PluginSettings(name=name)
    known = ", ".join([*names, *sorted(VARIANTS.keys() - set(names))])
    raise UnknownPlugin(f"no embedder named '{name}'; there are: {known}")


def build_embedder(settings: PluginSettings) -> Embedder:
    """Load an embedder."""
    embedder: Embedder = plugins.build("embedders", settings)
    return embedder


def settings_of(spec: EmbedderSpec) -> PluginSettings:
    """The settings that load the embedder of a gallery again."""
    options = dict(spec.config)
    return PluginSettings.model_validate({"name": options.pop("plugin", spec.name)} | options)


def on_device(settings: PluginSettings, device: str | None) -> PluginSettings:
    """The settings with a device, where the embedder has a choice; None leaves them."""
    has_choice = "device" in plugins.load("embedders", settings.name).Config.model_fields
    return settings.updated(device=device) if has_choice else settings


def require_current(gallery: Gallery, spec: EmbedderSpec) -> None:
    """Refuse an embedder whose vectors could not be compared with those of the gallery.

    Raises:
        WrongEmbedder: the gallery's embeddings were made by another model.
    """
    current = gallery.generations.current()
    if current is not None and not current.spec.same_as(spec):
        raise WrongEmbedder(
            f"the gallery holds embeddings of {current.spec}, not of {spec}: "
            "use that model, or embed the gallery anew with `run_pipeline.py reindex`"
        )


def embed_tracklets(
    embedder: Embedder, tracklets: Sequence[Sequence[bytes]], batch_clips: int
) -> list[Embedding | None]:
    """Embed tracklets by their JPEG crops.

    Args:
        embedder: the model.
        tracklets: N lists of crops in the order of time; undecodable crops are left out.
        batch_clips: clips that go through the model together.

    Returns:
        N unit vectors (D,), each the normalised mean of its normalised clip embeddings; None where no
        crop can be decoded or the model gives nothing finite.
    """
    crops = [[image for image in map(decode_jpeg, jpegs) if image is not None] for jpegs in tracklets]
    return embed_images(embedder, crops, batch_clips)


def embed_images(
    embedder: Embedder, tracklets: Sequence[Sequence[Image]], batch_clips: int
) -> list[Embedding | None]:
    """Like `embed_tracklets`, from decoded RGB crops."""
    clips: list[Clip] = []
    owners: list[int] = []
    for owner, images in enumerate(tracklets):
        if images:
            for indices in clip_indices(len(images), CLIP_LENGTH).tolist():
                clips.append([images[i] for i in indices])
                owners.append(owner)
    totals: list[Any] = [None] * len(tracklets)
    for first in range(0, len(clips), batch_clips):
        rows = unit(embedder.embed(clips[first : first + batch_clips]))
        for owner, row in zip(owners[first : first + batch_clips], rows, strict=True):
            totals[owner] = row if totals[owner] is None else totals[owner] + row
    return [_finished(total) for total in totals]


def unit(vectors: npt.NDArray[Any]) -> Embedding:
    """Rows of (N, D) scaled to L2 norm 1; a row without direction becomes NaN."""
    vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norms > 1e-12, vectors / norms, np.float32(np.nan)).astype(np.float32)


def _finished(total: Embedding | None) -> Embedding | None:
    if total is None:
        return None
    row = unit(total[None])[0]
    return row if bool(np.isfinite(row).all()) else None
