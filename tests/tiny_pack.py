"""A people pack of two box-shaped characters and one panorama, in the layout of the real one."""

import csv
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.mesh import box

# Joint: parent, rest position (metres), size of its box and the box's middle seen from the joint.
_BODY: dict[str, tuple[str | None, tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {
    "Hips": (None, (0, 0.95, 0), (0.3, 0.2, 0.2), (0, 0, 0)),
    "Spine": ("Hips", (0, 1.05, 0), (0.28, 0.2, 0.2), (0, 0.05, 0)),
    "Spine1": ("Spine", (0, 1.25, 0), (0.36, 0.3, 0.22), (0, 0.05, 0)),
    "Neck": ("Spine1", (0, 1.48, 0), (0.1, 0.1, 0.1), (0, 0.03, 0)),
    "Head": ("Neck", (0, 1.55, 0), (0.16, 0.24, 0.2), (0, 0.1, 0)),
}
for _side, _sign in (("Left", 1), ("Right", -1)):
    _BODY |= {
        f"{_side}Shoulder": ("Spine1", (_sign * 0.08, 1.42, 0), (0.1, 0.1, 0.1), (_sign * 0.05, 0, 0)),
        f"{_side}Arm": (f"{_side}Shoulder", (_sign * 0.18, 1.42, 0), (0.28, 0.1, 0.1), (_sign * 0.14, 0, 0)),
        f"{_side}ForeArm": (f"{_side}Arm", (_sign * 0.46, 1.42, 0), (0.26, 0.08, 0.08), (_sign * 0.13, 0, 0)),
        f"{_side}Hand": (
            f"{_side}ForeArm",
            (_sign * 0.72, 1.42, 0),
            (0.16, 0.04, 0.09),
            (_sign * 0.08, 0, 0),
        ),
        f"{_side}UpLeg": ("Hips", (_sign * 0.1, 0.9, 0), (0.15, 0.42, 0.16), (0, -0.21, 0)),
        f"{_side}Leg": (f"{_side}UpLeg", (_sign * 0.1, 0.48, 0), (0.12, 0.4, 0.12), (0, -0.2, 0)),
        f"{_side}Foot": (f"{_side}Leg", (_sign * 0.1, 0.08, 0), (0.1, 0.08, 0.26), (0, -0.04, 0.07)),
    }
_RED = {
    "top": (60, 70, 50),
    "bottom": (30, 0, -20),
    "shoes": (20, 0, 0),
    "hair": (15, 2, 4),
    "skin": (65, 15, 18),
}


def write_tiny_pack(folder: Path) -> Path:
    """Write the pack into a folder; gives the folder."""
    (folder / "valid").mkdir(parents=True)
    (folder / "panoramas").mkdir()
    sky = np.full((32, 64, 3), 150, np.uint8)
    sky[:16] = (230, 200, 170)
    cv2.imwrite(str(folder / "panoramas" / "sky.jpg"), sky)
    rows = []
    for number, (name, sex) in enumerate(
        (("AA_M_1_Casual", "M"), ("BB_F_1_Casual", "F"), ("CC_M_2_Busi", "M"))
    ):
        path = folder / "valid" / f"{name}.glb"
        path.write_bytes(_glb(brightness=90 + 60 * number))
        row = {"file": f"valid/{name}.glb", "source": "valid", "sex": sex, "age_group": "adult"}
        row |= {"upper_garment": "shirt", "lower_garment": "trousers"}
        rows.append(row | {f"{region}_lab": " ".join(map(str, lab)) for region, lab in _RED.items()})
    with (folder / "characters.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return folder


def _glb(brightness: int) -> bytes:
    names = list(_BODY)
    rest = np.array([_BODY[name][1] for name in names], np.float32)
    meshes = [box(_BODY[n][2], np.add(_BODY[n][1], _BODY[n][3])) for n in names]
    counts = [len(mesh.positions) for mesh in meshes]
    joints = np.zeros((sum(counts), 4), np.uint8)
    joints[:, 0] = np.repeat(np.arange(len(names)), counts)
    weights = np.zeros_like(joints)
    weights[:, 0] = 255
    starts = np.cumsum([0, *counts[:-1]])
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(names), 1, 1))
    inverse[:, 3, :3] = -rest
    indices = np.concatenate([mesh.indices + start for mesh, start in zip(meshes, starts, strict=True)])
    # Each of the 19 boxes has a cell of 60 x 60 texels, each of its six faces a part of that cell.
    uv = np.concatenate([_cell(number, mesh.uv) for number, mesh in enumerate(meshes)])
    mask = np.zeros((240, 300), np.uint8)
    for number, name in enumerate(names):
        left, top = 60 * (number % 5), 60 * (number // 5)
        mask[top : top + 60, left : left + 60] = _region(name)
    colour = np.full((240, 300, 3), brightness, np.uint8)
    file = _Writer()
    attributes = {
        "POSITION": file.array(np.concatenate([m.positions for m in meshes]), "VEC3"),
        "NORMAL": file.array(np.concatenate([m.normals for m in meshes]), "VEC3"),
        "TEXCOORD_0": file.array(uv, "VEC2"),
        "JOINTS_0": file.array(joints, "VEC4"),
        "WEIGHTS_0": file.array(weights, "VEC4"),
    }
    body = {
        "name": "body",
        "extras": {"region": "mask", "mask_image": 1},
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}},
    }
    primitive = {
        "attributes": attributes,
        "indices": file.array(indices.astype(np.uint16).reshape(-1, 1), "SCALAR"),
        "material": 0,
    }
    parents = {name: [names.index(child) for child in names if _BODY[child][0] == name] for name in names}
    tree = {
        "asset": {"version": "2.0"},
        "nodes": [{"name": name, "children": parents[name]} for name in names],
        "skins": [
            {
                "joints": list(range(len(names))),
                "inverseBindMatrices": file.array(inverse.reshape(-1, 16), "MAT4"),
            }
        ],
        "meshes": [{"primitives": [primitive]}],
        "materials": [body],
        "textures": [{"source": 0}],
        "images": [file.image("body_color", colour), file.image("region_mask", mask)],
    }
    return file.glb(tree)


def _cell(number: int, uv: NDArray[np.float32]) -> NDArray[np.float32]:
    face = np.arange(len(uv)) // 4
    corner = np.stack([60 * (number % 5) + 20 * (face % 3), 60 * (number // 5) + 30 * (face // 3)], 1)
    return np.asarray((corner + uv * (20, 30)) / (300, 240), np.float32)


def _region(name: str) -> int:
    parts = {"Head": 5, "Neck": 5, "Hand": 5, "UpLeg": 2, "Leg": 2, "Hips": 2, "Foot": 3}
    return next((region for part, region in parts.items() if name.endswith(part)), 1)


class _Writer:
    def __init__(self) -> None:
        self._blob = b""
        self._views: list[dict[str, int]] = []
        self._accessors: list[dict[str, Any]] = []

    def _view(self, content: bytes) -> int:
        self._views.append({"buffer": 0, "byteOffset": len(self._blob), "byteLength": len(content)})
        self._blob += content + b"\0" * (-len(content) % 4)
        return len(self._views) - 1

    def array(self, values: NDArray[Any], kind: str) -> int:
        types = {"float32": 5126, "uint16": 5123, "uint8": 5121}
        view = self._view(np.ascontiguousarray(values).tobytes())
        self._accessors.append(
            {
                "bufferView": view,
                "componentType": types[values.dtype.name],
                "count": len(values),
                "type": kind,
            }
        )
        return len(self._accessors) - 1

    def image(self, name: str, picture: NDArray[np.uint8]) -> dict[str, Any]:
        return {
            "name": name,
            "mimeType": "image/png",
            "bufferView": self._view(cv2.imencode(".png", picture)[1].tobytes()),
        }

    def glb(self, tree: dict[str, Any]) -> bytes:
        tree = tree | {"bufferViews": self._views, "accessors": self._accessors}
        text = json.dumps(tree).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self._blob)
        head = struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<I4s", len(text), b"JSON")
        return head + text + struct.pack("<I4s", len(self._blob), b"BIN\0") + self._blob


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
