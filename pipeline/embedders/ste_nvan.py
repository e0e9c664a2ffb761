"""The STE-NVAN family (Liu et al., BMVC 2019) as an embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models import weights
from pipeline.config import Settings
from pipeline.device import choose_device
from pipeline.types import Image
from storage.records import EmbedderSpec

FALLBACK: str | None = None


class Config(Settings):
    """Which network."""

    weights: str | None = Field(
        None,
        description="a checkpoint's path, or the name of a weight card; null: the bundled weights",
    )
    variant: str | None = Field(None, description="needed for the authors' .pth files, which do not say it")
    device: str | None = Field(None, description="cpu, cuda:0, ...; null: the GPU if there is one")
    half: bool | None = Field(None, description="half precision; null: on a GPU only")


class SteNvan:
    """A network of the family with its preprocessing."""

    fallback = FALLBACK
    of_clips = True

    def __init__(self, config: Config) -> None:
        import torch

        from models.checkpoint import VariantRequired, load_model

        # The bundled weights are a ste_nvan's; for its relatives the user must give some.
        bundled = weights.default_embedder() if config.variant in (None, "ste_nvan") else None
        given = bundled if config.weights is None else config.weights
        if given is None:
            raise weights.MissingWeights(
                f"the embedder {config.variant or 'ste_nvan'} needs weights: pass --embedder-weights FILE "
                "(a Retrace .safetensors or the authors' .pth), or use --embedder colour_stripes"
            )
        resolved = weights.resolve(given, "embedder")
        device = choose_device(config.device)
        self._torch = torch
        self._device = torch.device(device)
        self._half = config.half if config.half is not None else self._device.type == "cuda"
        try:
            self._model = load_model(resolved.path, variant=config.variant, device=device)
        except VariantRequired as error:
            raise ValueError(f"{error} (--embedder nvan, --embedder ste_nvan, ...)") from error
        # Spatial and temporal reduction leave no trace in a file: the variant's name tells them apart.
        self.spec = EmbedderSpec(
            name=self._model.variant or "ste_nvan",
            weights_hash=resolved.sha256,
            preprocessing_hash=self._model.preprocessing.hash,
            dimension=self._model.dimension,
            config={
                "plugin": "ste_nvan",
                "weights": _stored_name(resolved, given),
                "variant": config.variant,
            },
        )

    def embed(self, clips: Sequence[list[Image]]) -> npt.NDArray[np.float32]:
        """(N, D) float32 of N clips of 8 crops."""
        torch = self._torch
        batch = torch.from_numpy(self._model.preprocessing.batch(clips))  # (N, T, 3, H, W)
        with torch.inference_mode():
            batch = batch.to(self._device, non_blocking=True)
            with torch.autocast(self._device.type, torch.float16, enabled=self._half):
                features = self._model(batch)  # (N, D)
        return np.asarray(features.float().cpu().numpy(), np.float32)


def _stored_name(resolved: weights.ResolvedWeights, given: str) -> str:
    """A card's name stays a name; a path becomes absolute, so that a later query finds it from anywhere."""
    return (
        given
        if resolved.card is not None and given == resolved.card.name
        else str(Path(resolved.path).resolve())
    )


def build(config: Config) -> SteNvan:
    """Load the network.

    Raises:
        models.weights.MissingWeights: no weights are given and none are bundled, or the file is not there.
        models.checkpoint.CheckpointError: the file is not a checkpoint of this family.
    """
    return SteNvan(config)
