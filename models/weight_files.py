"""Forms of weight files: which are known, which can run code, how they are hashed and copied."""

import hashlib
import shutil
from pathlib import Path

OPENVINO_ENDING = "_openvino_model"  # Ultralytics knows an OpenVINO folder by this
_FORMS = {
    "detector": (".pt", ".onnx", ".xml", ".torchscript", ".engine"),
    "embedder": (".safetensors", ".pth", ".pt", ".onnx", ".xml", ".engine"),
}
_RUNS_CODE = {"detector": (".pt", ".torchscript", ".engine"), "embedder": (".engine",)}
_FIRST_BYTES = {
    ".pt": (b"PK", b"\x80"),
    ".pth": (b"PK", b"\x80"),
    ".torchscript": (b"PK",),
    ".xml": (b"<", b"\xef\xbb\xbf<"),
}


class NotWeights(ValueError):
    """A file that is no weights, or of a form that is not supported."""


def runs_code(path: Path, kind: str) -> bool:
    """Whether loading such a file as weights of this kind may run code that the file brings along."""
    return path.suffix.lower() in _RUNS_CODE[kind]


def is_openvino(path: Path) -> bool:
    """Whether this is an OpenVINO folder or the `.xml` in one."""
    return path.is_dir() or path.suffix.lower() == ".xml"


def check_form(path: Path, kind: str) -> None:
    """Refuse, before anything loads it, what cannot be weights of this kind.

    Raises:
        NotWeights: Empty, incomplete, of an unknown form, or with other first bytes than its form has.
    """
    parts = weight_parts(path)
    suffix = parts[0].suffix.lower()
    if suffix not in _FORMS[kind]:
        forms = ", ".join(_FORMS[kind])
        raise NotWeights(f"{path} is no {kind} weights: expected {forms} or a folder NAME{OPENVINO_ENDING}")
    for part in parts:
        if part.stat().st_size == 0:
            raise NotWeights(f"{part} is empty: copy or fetch it again")
    with parts[0].open("rb") as file:
        head = file.read(4)
    expected = _FIRST_BYTES.get(suffix)
    if expected and not head.startswith(expected):
        raise NotWeights(f"{path} is no {suffix} file (it begins with {head!r}): copy or fetch it again")


def weights_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits; of an OpenVINO folder or `.xml`: over the `.xml`, then the `.bin`.

    Raises:
        NotWeights: A folder or `.xml` lacks its other half.
    """
    digest = hashlib.sha256()
    for part in weight_parts(path):
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def weight_parts(path: Path) -> list[Path]:
    """The files that make up the weights: one, or `.xml` and `.bin` of an OpenVINO model.

    Raises:
        NotWeights: A folder that is none of OpenVINO's, or an `.xml` without its `.bin`.
    """
    if path.is_dir():
        graphs = sorted(path.glob("*.xml"))
        if len(graphs) != 1 or not path.name.endswith(OPENVINO_ENDING):
            raise NotWeights(f"{path} is no folder NAME{OPENVINO_ENDING} with one .xml and its .bin")
        path = graphs[0]
    if not is_openvino(path):
        return [path]
    if not path.with_suffix(".bin").is_file():
        raise NotWeights(f"{path} has no {path.stem}.bin beside it: copy both")
    return [path, path.with_suffix(".bin")]


def copy_weights(path: Path, folder: Path) -> Path:
    """Copy weights into `folder`; OpenVINO's files become a folder, with `metadata.yaml` when it is there."""
    parts = weight_parts(path)
    if len(parts) == 1:
        return Path(shutil.copy(path, folder))
    target = folder / f"copy{OPENVINO_ENDING}"
    target.mkdir()
    for part in (*parts, parts[0].with_name("metadata.yaml")):
        if part.is_file():
            shutil.copy(part, target)
    return target
