"""torchvision's names and shapes onto our backbone, with parts missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoint import save_checkpoint
from models.ste_nvan import VARIANTS, EmbeddingModel, build
from training.initialise import from_checkpoint, from_imagenet

TINY = replace(VARIANTS["ste_nvan"], width=4, depths=(1, 1, 1, 1), non_local=(0, 1, 1, 0))
PARTIAL = (
    Path(__file__).resolve().parents[3]
    / "shared/weights/backbone/torchvision_V1_conv1_to_layer2_and_all_bn.pt"
)


def torchvision_resnet() -> dict[str, Tensor]:
    """The state dict of a ResNet of one bottleneck a layer, 4 channels wide, under torchvision's names."""
    generator = torch.Generator().manual_seed(0)
    state = {"conv1.weight": torch.randn(4, 3, 7, 7, generator=generator)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean"):
            state[f"{name}.{part}"] = torch.randn(channels, generator=generator)
        state[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(9)

    norm("bn1", 4)
    channels = 4
    for layer in range(4):
        inner, name = 4 << layer, f"layer{layer + 1}.0"
        shapes = ((inner, channels, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1))
        for number, shape in enumerate(shapes, 1):
            state[f"{name}.conv{number}.weight"] = torch.randn(shape, generator=generator)
            norm(f"{name}.bn{number}", shape[0])
        state[f"{name}.downsample.0.weight"] = torch.randn(4 * inner, channels, 1, 1, generator=generator)
        norm(f"{name}.downsample.1", 4 * inner)
        channels = 4 * inner
    return state | {"fc.weight": torch.zeros(10, channels), "fc.bias": torch.zeros(10)}


def network() -> EmbeddingModel:
    return build(TINY, generator=torch.Generator().manual_seed(1))


def saved(tmp_path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, tmp_path / "resnet.pth")
    return tmp_path / "resnet.pth"


def test_every_tensor_of_the_backbone_is_found(tmp_path: Path) -> None:
    theirs, model = torchvision_resnet(), network()
    report = from_imagenet(model, saved(tmp_path, theirs))
    ours = model.state_dict()
    for key, name in (
        ("backbone.conv.weight", "conv1.weight"),
        ("backbone.norm.running_mean", "bn1.running_mean"),
        ("backbone.stages.0.blocks.0.conv1.weight", "layer1.0.conv1.weight"),
        ("backbone.stages.3.blocks.0.norm2.running_var", "layer4.0.bn2.running_var"),
        ("backbone.stages.1.blocks.0.shortcut.0.weight", "layer2.0.downsample.0.weight"),
        ("backbone.stages.1.blocks.0.shortcut.1.bias", "layer2.0.downsample.1.bias"),
    ):
        assert torch.equal(ours[key], theirs[name])
    assert report.left == ()
    assert all(".non_local." in key or key.startswith("head.") for key in report.fresh)
    assert len(report.loaded) + len(report.fresh) == sum("num_batches" not in key for key in ours)
    assert "random in backbone.stages.1, backbone.stages.2, head.norm.bias" in str(report)


def test_a_norm_whose_convolution_is_missing_stays_fresh(tmp_path: Path) -> None:
    theirs = torchvision_resnet()
    for key in ("layer3.0.conv2.weight", "layer3.0.downsample.0.weight"):
        del theirs[key]
    model, fresh = network(), network().state_dict()
    report = from_imagenet(model, saved(tmp_path, theirs))
    ours, block = model.state_dict(), "backbone.stages.2.blocks.0."
    for key in ("conv2.weight", "norm2.weight", "norm2.running_mean", "shortcut.0.weight", "shortcut.1.bias"):
        assert torch.equal(ours[block + key], fresh[block + key])
    assert torch.equal(ours[block + "norm3.running_mean"], theirs["layer3.0.bn3.running_mean"])
    assert set(report.left) == {
        f"{block}{norm}.{part}"
        for norm in ("norm2", "shortcut.1")
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    assert "8 tensors of batch norms not used" in str(report)


def test_statistics_of_another_convolution_s_outputs_do_not_normalise() -> None:
    """Why: the norm of a trained convolution, behind a random one, gives channels of any mean and spread."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 8, 6, 6, generator=generator)
    trained, random = (torch.nn.Conv2d(8, 16, 3, bias=False) for _ in range(2))
    torch.nn.init.normal_(trained.weight, 0, 0.02, generator=generator)
    torch.nn.init.kaiming_normal_(random.weight, mode="fan_out", generator=generator)
    norm = torch.nn.BatchNorm2d(16, momentum=None)
    with torch.no_grad():
        norm(trained(x))  # learns the statistics of the trained one
        norm.eval()
        assert float(norm(trained(x)).std()) == pytest.approx(1, abs=0.1)
        assert float(norm(random(x)).std()) > 3


def test_what_is_no_resnet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no convolution of torchvision's ResNet-50"):
        from_imagenet(network(), saved(tmp_path, {"layer1.0.bn1.weight": torch.ones(4)}))
    with pytest.raises(ValueError, match=r"another shape at backbone.conv.weight: \(8, 3, 7, 7\) instead of"):
        from_imagenet(network(), saved(tmp_path, {"conv1.weight": torch.ones(8, 3, 7, 7)}))
    with pytest.raises(FileNotFoundError, match="no weights at"):
        from_imagenet(network(), tmp_path / "absent.pth")


def test_a_checkpoint_of_ours(tmp_path: Path) -> None:
    trained = build(TINY, generator=torch.Generator().manual_seed(5))
    save_checkpoint(trained, tmp_path / "trained.safetensors", {})
    model = network()
    report = from_checkpoint(model, tmp_path / "trained.safetensors")
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in model.state_dict().items())
    assert "nothing stays random" in str(report)
    other = build(replace(TINY, depths=(1, 1, 1, 2)))
    with pytest.raises(
        ValueError, match=r"another network than the recipe's: backbone\.stages\.3\.blocks\.1"
    ):
        from_checkpoint(other, tmp_path / "trained.safetensors")
    wider = build(replace(TINY, width=8))
    with pytest.raises(ValueError, match=r"has another shape at backbone\.conv\.weight"):
        from_checkpoint(wider, tmp_path / "trained.safetensors")


def test_a_network_of_pictures_goes_on_as_one_of_clips_with_the_same_answers(tmp_path: Path) -> None:
    of_pictures = build(replace(VARIANTS["resnet50_fpl"], width=4, depths=(1, 1, 1, 1))).eval()
    save_checkpoint(of_pictures, tmp_path / "pictures.safetensors", {})
    model = network()
    report = from_checkpoint(model, tmp_path / "pictures.safetensors")
    assert all(".non_local." in key for key in report.fresh)
    assert "random in backbone.stages.1, backbone.stages.2" in str(report)
    still = torch.rand(2, 1, 3, 256, 128).repeat(1, 4, 1, 1, 1)  # clips of one picture
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(still), of_pictures(still), rtol=1e-4, atol=1e-5)


def test_the_genuine_part_of_imagenet() -> None:
    if not PARTIAL.exists():
        pytest.skip(f"the genuine weights {PARTIAL} are not on this machine")
    model = build("ste_nvan", generator=torch.Generator().manual_seed(1))
    report = from_imagenet(model, PARTIAL)
    convolutions = [key for key in report.loaded if "conv" in key or "shortcut.0" in key]
    assert len(convolutions) == 1 + 10 + 13 + 1  # conv1, layer1, layer2, layer3.0.conv1
    assert float(model.state_dict()["backbone.stages.1.blocks.3.norm3.running_var"].mean()) != 1
    assert float(model.state_dict()["backbone.stages.3.blocks.0.norm3.running_var"].mean()) == 1
    assert sum("norm3" in key for key in report.left) == 9 * 4  # of layers 3 and 4
