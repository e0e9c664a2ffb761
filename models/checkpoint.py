"""Weights on disk: our checkpoints (safetensors with JSON inside) and the authors' released `.pth` files.

A checkpoint of ours says which network it is and how pictures are prepared for it. The authors' files hold
named tensors only; they are pickles, so they are read with torch's restricted unpickler, which runs no code.
Files not made by us may hide anything: every way of being wrong ends in a `CheckpointError`.
"""

import hashlib
import json
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.preprocess import Preprocessing
from models.quantise import QuantisationError, pack, relative_error, unpack
from models.ste_nvan import VARIANTS, Architecture, EmbeddingModel, architecture_of

FORMAT = 1
METADATA_KEY = "retrace"
OWN_KEYS = ("format", "variant", "architecture", "preprocessing", "storage", "storage_error")
Storage = Literal["float32", "float16", "int8"]
# What torch.load raises, besides UnpicklingError, on bytes that only begin like weights.
_DAMAGE = (
    RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    OverflowError, MemoryError, struct.error,
)  # fmt: skip

# Ours -> the authors', applied in order to the whole key.
_OFFICIAL_NAMES = (
    (r"^backbone\.stages\.(\d)\.blocks\.", lambda m: f"features.backbone.layer{int(m[1]) + 1}."),
    (r"^backbone\.stages\.(\d)\.non_local\.", lambda m: f"features.backbone.NL_{int(m[1]) + 1}."),
    (r"^backbone\.(conv|norm)\.", r"features.backbone.\g<1>1."),
    (r"^head\.norm\.", "bottleneck."),
    (r"(NL_\d\.\d+)\.out\.", r"\1.W.0."),
    (r"(NL_\d\.\d+)\.norm\.", r"\1.W.1."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".downsample."),
)


class CheckpointError(ValueError):
    """A file that is not, or not safely, the weights of the model asked for."""


class VariantRequired(ValueError):
    """The file holds tensors that suit several variants and does not say which."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} does not say which model it is; give variant as one of {', '.join(VARIANTS)}"
        )


def save_checkpoint(
    model: EmbeddingModel, path: str | Path, metadata: Mapping[str, Any], *, storage: Storage = "float32"
) -> None:
    """Writes weights and all that is needed to use them into one safetensors file, or leaves the old one.

    The same model, metadata and storage give the same bytes.

    Args:
        model: The network; its architecture and preprocessing are written with it.
        path: File to write, by custom `.safetensors`.
        metadata: What else to record, as JSON: training data, licence, metrics.
        storage: How convolution and matrix weights are stored: `float16` halves the file, `int8` (with a
            scale per output channel, see `models.quantise`) quarters it; vectors stay float32. The file says
            by how much the weights changed: `storage_error`, the relative error of the worst tensor.

    Raises:
        ValueError: `metadata` uses a key that the checkpoint fills itself, `storage` is unknown, or a weight
            is not finite (in float16: or beyond its range).
    """
    taken = sorted(set(metadata) & set(OWN_KEYS))
    if taken:
        raise ValueError(f"checkpoint metadata may not set {', '.join(taken)}: the model says it")
    tensors, error = _stored(model.state_dict(), storage)
    header = {
        "format": FORMAT,
        "variant": model.variant,
        "architecture": model.architecture.to_json(),
        "preprocessing": model.preprocessing.to_json(),
        "storage": storage,
        "storage_error": error,
        **metadata,
    }
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        save_file(tensors, part, {METADATA_KEY: json.dumps(header, sort_keys=True)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The JSON of a checkpoint of ours, without its weights; `{}` for a safetensors file of others.

    Raises:
        CheckpointError: Not a safetensors file, or one written by a newer version.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {_first_line(error)}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has damaged metadata: write the checkpoint again")
    version = header.get("format", FORMAT)
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {version}, this version reads {FORMAT}: update Retrace"
        )
    return header


def load_model(
    weights: str | Path, *, variant: str | None = None, device: str | torch.device = "cpu"
) -> EmbeddingModel:
    """Loads a network for use: in eval mode, float32, on a device.

    Args:
        weights: A checkpoint of ours, or the authors' `.pth` (also as safetensors with their key names).
        variant: Name in `VARIANTS`. Ours say it themselves; the authors' do not, and spatial and temporal
            reduction leave no trace in the keys, so there it must be given.
        device: Where the network shall run.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: The file is no weights, unsafe, damaged, or of another network; keys are named.
        ValueError: The variant is unknown, missing, or not that of the file.
    """
    path = Path(weights)
    asked = None if variant is None else architecture_of(variant)
    header = read_metadata(path) if _kind(path) == "safetensors" else {}
    if header:
        architecture, preprocessing = _described(header, path)
        if asked is not None and asked.at(preprocessing.height) != architecture:
            raise ValueError(f"{path} holds the model {header.get('variant')}, not {variant}")
    elif asked is None:
        raise VariantRequired(path)
    else:
        architecture, preprocessing = asked, Preprocessing()
    with torch.device("meta"):
        model = EmbeddingModel(architecture, preprocessing)
    tensors = read_tensors(path)
    if header:
        tensors = _unpacked(tensors, header, path)
    else:
        tensors = {_bare(key): value for key, value in tensors.items() if not _is_classifier(key)}
    model.load_state_dict(_matched(tensors, _expected(model, official=not header), path), assign=True)
    model.eval().to(device)
    return model.to(memory_format=torch.channels_last)


def official_key(key: str) -> str:
    """The authors' name of one of our state dict's keys, without `module.`."""
    for pattern, name in _OFFICIAL_NAMES:
        key = re.sub(pattern, name, key)
    return key


def to_official(model: EmbeddingModel) -> dict[str, Tensor]:
    """The state dict under the authors' names and shapes (1x1x1 convolutions), without a classifier."""
    state = model.state_dict()
    return {name: state[key].reshape(shape) for name, (key, shape) in _expected(model, official=True).items()}


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes, 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(state: Mapping[str, Tensor], storage: Storage) -> tuple[dict[str, Tensor], float]:
    """The tensors as they are written, and the largest relative error that writing them so makes."""
    if storage not in get_args(Storage):
        raise ValueError(f"storage must be one of {', '.join(get_args(Storage))}, not {storage!r}")
    exact = {
        key: (value.float() if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in state.items()
    }
    stored = dict(exact)
    if storage == "float16":
        stored = {key: value.to(torch.float16) if value.ndim > 1 else value for key, value in exact.items()}
    broken = [key for key, value in stored.items() if not bool(value.isfinite().all())]
    if broken:
        raise ValueError(f"weights that cannot be stored as finite {storage} numbers: {_some(broken)}")
    if storage == "int8":
        stored, errors = pack(exact)
    else:
        errors = {k: relative_error(stored[k], v) for k, v in exact.items() if stored[k].dtype != v.dtype}
    return stored, float(f"{max(errors.values(), default=0.0):.3g}")


def _unpacked(tensors: dict[str, Tensor], header: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of a file of ours as plain numbers."""
    storage = header.get("storage", "float32")
    if storage not in get_args(Storage):
        raise CheckpointError(f"{path} has the unknown storage {storage!r}: update Retrace")
    if storage != "int8":
        return tensors
    try:
        return unpack(tensors)
    except QuantisationError as error:
        raise CheckpointError(f"{path} does not fit the model: {error}") from error


def _expected(model: EmbeddingModel, *, official: bool) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What a file must hold: its key -> (our key, the shape in the file)."""
    expected = {}
    for key, value in model.state_dict().items():
        name, shape = key, tuple(value.shape)
        if official:
            name = official_key(key)
            if ".non_local." in key and len(shape) == 2:
                shape += (1, 1, 1)  # theirs are convolutions over (T, H, W)
        expected[name] = (key, shape)
    return expected


def _matched(
    tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[str, tuple[int, ...]]], path: Path
) -> dict[str, Tensor]:
    """The tensors under our keys and shapes; CheckpointError naming every key that is amiss."""
    shared = expected.keys() & tensors.keys()
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {expected[name][1]}"
        for name in sorted(shared)
        if tuple(tensors[name].shape) != expected[name][1]
    ]
    faults = {
        "missing": sorted(expected.keys() - shared),
        "unexpected": sorted(tensors.keys() - shared),
        "wrong shape": shapes,
        "not plain finite numbers": [name for name in sorted(shared) if not _is_sound(tensors[name])],
    }
    if any(faults.values()):
        listed = "; ".join(f"{fault}: {_some(names)}" for fault, names in faults.items() if names)
        raise CheckpointError(f"{path} does not fit the model: {listed}")
    model_shapes = {key: shape[:2] if len(shape) == 5 else shape for key, shape in expected.values()}
    matched = {}
    for name, (key, _) in expected.items():
        kind = torch.float32 if tensors[name].is_floating_point() else torch.int64
        matched[key] = tensors[name].to(kind).reshape(model_shapes[key])
    return matched


def _is_sound(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    if not tensor.is_floating_point():  # the counters of the batch norms
        return tensor.dtype == torch.int64 and tensor.ndim == 0
    return bool(tensor.isfinite().all())


def _some(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _bare(key: str) -> str:
    return key.removeprefix("module.")


def _is_classifier(key: str) -> bool:
    return _bare(key).startswith("classifier.")


def _described(header: Mapping[str, Any], path: Path) -> tuple[Architecture, Preprocessing]:
    try:
        return (
            Architecture.from_json(header["architecture"]),
            Preprocessing.from_json(header["preprocessing"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {_first_line(error)}") from error


def _kind(path: Path) -> str:
    """`safetensors` or `torch`, by the first bytes; the name's ending proves nothing."""
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: give the path of a .safetensors or .pth file")
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith((b"PK\x03\x04", b"\x80")):  # torch's zip archive, or its pickle of before 2020
        return "torch"
    if head[8:9] == b"{":
        return "safetensors"
    found = f"begins with {head!r}" if head else "is empty"
    raise CheckpointError(f"{path} is not weights (it {found}): expected a .safetensors or a torch .pth file")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a weights file by the name it has there; CheckpointError where it is none."""
    if _kind(path) == "safetensors":
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    loaded = _unpickled(path)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path} holds a {type(loaded).__name__} and no state dict of named tensors")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path} holds {type(value).__name__} at {key!r} instead of a tensor")
    return dict(loaded)


def _unpickled(path: Path) -> Any:
    """What torch's restricted unpickler reads: tensors and plain containers, nothing that runs."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        what = (
            f"refers to {refused[1]}, which could run code"
            if refused
            else "is damaged or holds more than tensors"
        )
        raise CheckpointError(f"{path} {what}: only a state dict of plain tensors is loaded") from error
    except _DAMAGE as error:
        raise CheckpointError(f"{path} is damaged or no torch weights: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
