from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint import load_model, save_checkpoint
from models.preprocess import Preprocessing
from models.ste_nvan import VARIANTS, EmbeddingModel, build


def test_stripes_keep_their_share_of_the_map() -> None:
    assert VARIANTS["ste_nvan"].at(128).stripes == 8
    assert VARIANTS["ste_nvan"].at(256) == VARIANTS["ste_nvan"]
    assert VARIANTS["nvan"].at(128) == VARIANTS["nvan"]


def test_a_variant_for_smaller_pictures_keeps_its_name_and_weights(tmp_path: Path) -> None:
    tiny = replace(VARIANTS["ste_nvan"], width=2)
    large = build(tiny, generator=torch.Generator().manual_seed(0)).eval()
    small = EmbeddingModel(tiny.at(128), Preprocessing(128, 64)).eval()
    small.load_state_dict(large.state_dict())  # strict: a size changes no weight
    assert small(torch.zeros(1, 8, 3, 128, 64)).shape == (1, 64)
    with pytest.raises(ValueError, match="height H"):
        large(torch.zeros(1, 8, 3, 128, 64))


def test_a_checkpoint_for_smaller_pictures_loads_by_its_variant(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = EmbeddingModel(VARIANTS["ste_nvan"].at(128), Preprocessing(128, 64))
    model = model.to_empty(device="cpu")
    model.reset_parameters(torch.Generator().manual_seed(0))
    assert model.variant == "ste_nvan"
    save_checkpoint(model, tmp_path / "small.safetensors", {}, storage="float16")
    assert load_model(tmp_path / "small.safetensors", variant="ste_nvan").preprocessing.height == 128
    with pytest.raises(ValueError, match="holds the model ste_nvan, not nvan"):
        load_model(tmp_path / "small.safetensors", variant="nvan")
