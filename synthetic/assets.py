"""The people pack: rigged, clothed characters (glTF 2.0 binary) and panoramas, read into plain arrays.

The pack's own README tells its layout: `characters.csv`, `valid/*.glb`, `makehuman/*.glb`, `panoramas/*.jpg`.
Every joint of its rigs has an identity rest rotation, which is what makes a pose one rotation per joint.
"""

import csv
import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.motion import ROLES

ATLAS_WIDTH, ATLAS_HEIGHT = 1024, 512
REGIONS = ("other", "top", "bottom", "shoes", "hair", "skin")  # the index is the value in the pack's masks

_SIDES = {"left": ("Left", "L"), "right": ("Right", "R")}
_JOINTS = {  # role -> joint in (valid, makehuman)
    "hips": ("Hips", "root"),
    "spine": ("Spine", "spine04"),
    "chest": ("Spine1", "spine02"),
    "neck": ("Neck", "neck01"),
    "head": ("Head", "head"),
    "shoulder": ("{0}Shoulder", "clavicle.{1}"),
    "upper_arm": ("{0}Arm", "upperarm01.{1}"),
    "lower_arm": ("{0}ForeArm", "lowerarm01.{1}"),
    "hand": ("{0}Hand", "wrist.{1}"),
    "upper_leg": ("{0}UpLeg", "upperleg01.{1}"),
    "lower_leg": ("{0}Leg", "lowerleg01.{1}"),
    "foot": ("{0}Foot", "foot.{1}"),
}
_TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class CharacterCard:
    """One line of `characters.csv`.

    Attributes:
        path: The .glb file.
        base: Who it is: characters of equal base share face and body, whatever they wear.
        sex: F or M.
        age_group: As the pack says it.
        garments: Upper and lower garment, in words.
        lab: Region -> median CIELab colour (3,) of its texture.
    """

    path: Path
    base: str
    sex: str
    age_group: str
    garments: str
    lab: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Character:
    """A character ready for the renderer.

    Attributes:
        card: Where it comes from.
        positions: (N, 3) float32 rest pose in metres, Y up, facing +Z, feet on y = 0.
        normals: (N, 3) float32 unit.
        uv: (N, 2) float32 in the atlas, v = 0 at its top row.
        roles: (N, 4) uint8 indices into `synthetic.motion.ROLES`.
        weights: (N, 4) uint8, sums 255.
        indices: (M, 3) uint32 triangles.
        joints: (19, 3) float32 rest position of each role.
        atlas: (512, 1024, 4) uint8 RGBA, all textures side by side; alpha below 90 is cut out.
        regions: (512, 1024) uint8, index into `REGIONS` of each texel.
    """

    card: CharacterCard
    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    roles: NDArray[np.uint8]
    weights: NDArray[np.uint8]
    indices: NDArray[np.uint32]
    joints: NDArray[np.float32]
    atlas: NDArray[np.uint8]
    regions: NDArray[np.uint8]

    @property
    def height(self) -> float:
        """Metres from sole to crown."""
        return float(self.positions[:, 1].max())


def read_cards(assets: Path) -> list[CharacterCard]:
    """The characters of a pack, in the order of its table.

    Raises:
        FileNotFoundError: there is no pack in that folder.
    """
    table = assets / "characters.csv"
    if not table.is_file():
        raise FileNotFoundError(
            f"no people pack in {assets}: it has no characters.csv (see docs/synthetic.md)"
        )
    try:
        with table.open(newline="") as file:
            cards = [_card(assets, row) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{table} is not the table of a people pack: {error!r}") from error
    if not cards:
        raise ValueError(f"{table} names no characters")
    return cards


def pack_hash(assets: Path) -> str:
    """16 hex digits of a pack's table, which tell packs apart."""
    return hashlib.sha256((assets / "characters.csv").read_bytes()).hexdigest()[:16]


def _card(assets: Path, row: dict[str, str]) -> CharacterCard:
    path = assets / row["file"]
    if not path.resolve().is_relative_to(assets.resolve()):
        raise ValueError(f"{row['file']} lies outside of the pack")
    name = path.stem
    base = name.rsplit("_", 1)[0] if row["source"] == "valid" else name  # outfits share one person
    columns = {region: row.get(f"{region}_lab", "") for region in REGIONS[1:]}
    lab = {key: np.array(text.split(), np.float32) for key, text in columns.items() if len(text.split()) == 3}
    garments = f"{row['upper_garment']}, {row['lower_garment']}"
    return CharacterCard(path, base, row["sex"], row["age_group"], garments, lab)


def read_panorama(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, equirectangular."""
    return _decoded(path.read_bytes(), cv2.IMREAD_COLOR_RGB, path)


def panoramas(assets: Path) -> list[Path]:
    """The panoramas of a pack, sorted by name.

    Raises:
        FileNotFoundError: there are none.
    """
    found = sorted((assets / "panoramas").glob("*.jpg"))
    if not found:
        raise FileNotFoundError(f"the people pack {assets} has no panoramas/*.jpg")
    return found


def load_character(card: CharacterCard) -> Character:
    """Read a character.

    Raises:
        ValueError: the file is not of the pack's format; the message names it.
    """
    try:
        glb = _Glb(card.path)
        return _character(card, glb)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, struct.error) as error:
        raise ValueError(f"{card.path} is not a character of a people pack: {error}") from error


class _Glb:
    """The JSON and the binary chunk of a .glb file."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        magic, _, _, length = struct.unpack_from("<4sIII", raw)
        if magic != b"glTF":
            raise ValueError(f"{path} is not a glTF binary")
        self.path = path
        self.tree: dict[str, Any] = json.loads(raw[20 : 20 + length])
        self._blob = memoryview(raw)[28 + length :]

    def bytes_of(self, view: int) -> memoryview:
        place = self.tree["bufferViews"][view]
        start = place.get("byteOffset", 0)
        return self._blob[start : start + place["byteLength"]]

    def array(self, accessor: int) -> NDArray[Any]:
        """(count, width)"""
        entry = self.tree["accessors"][accessor]
        width = _WIDTHS[entry["type"]]
        kind = _TYPES[entry["componentType"]]
        return np.frombuffer(self.bytes_of(entry["bufferView"]), kind, entry["count"] * width).reshape(
            -1, width
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB, RGBA or grey, as stored."""
        image = _decoded(
            self.bytes_of(self.tree["images"][index]["bufferView"]), cv2.IMREAD_UNCHANGED, self.path
        )
        if image.ndim == 2:
            return image
        code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
        return np.asarray(cv2.cvtColor(image, code), np.uint8)


def _decoded(content: bytes | memoryview, flags: int, path: Path) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if image is None:
        raise ValueError(f"{path} holds a picture that cannot be decoded")
    return np.asarray(image, np.uint8)


def _character(card: CharacterCard, glb: _Glb) -> Character:
    names, parents, places = _skeleton(glb)
    roles_of_joints, joints = _roles(names, parents, places)
    atlas, regions, boxes = _atlas(glb)
    columns: dict[str, list[NDArray[Any]]] = {
        k: [] for k in ("positions", "normals", "uv", "roles", "weights")
    }
    indices, count = [], 0
    for part in glb.tree["meshes"][0]["primitives"]:
        attributes = part["attributes"]
        left, top, width, height = boxes[part["material"]]
        # Half a texel off the border: the neighbour in the atlas must not bleed in.
        inside = np.clip(glb.array(attributes["TEXCOORD_0"]), 0, 1) * (width - 1, height - 1) + 0.5
        columns["uv"].append((inside + np.array([left, top])) / (ATLAS_WIDTH, ATLAS_HEIGHT))
        columns["positions"].append(glb.array(attributes["POSITION"]))
        columns["normals"].append(glb.array(attributes["NORMAL"]))
        columns["roles"].append(roles_of_joints[glb.array(attributes["JOINTS_0"])])
        columns["weights"].append(glb.array(attributes["WEIGHTS_0"]))
        indices.append(glb.array(part["indices"]).reshape(-1, 3).astype(np.uint32) + np.uint32(count))
        count += len(columns["uv"][-1])
        if indices[-1].max(initial=0) >= count or columns["weights"][-1].dtype != np.uint8:
            raise ValueError("a triangle of vertices that are not there, or weights that are no bytes")
    whole = {key: np.concatenate(parts) for key, parts in columns.items()}
    return Character(
        card,
        whole["positions"].astype(np.float32),
        whole["normals"].astype(np.float32),
        whole["uv"].astype(np.float32),
        whole["roles"].astype(np.uint8),
        whole["weights"].astype(np.uint8),
        np.concatenate(indices),
        joints,
        atlas,
        regions,
    )


def _skeleton(glb: _Glb) -> tuple[list[str], list[int], NDArray[np.float32]]:
    """Names, parents (-1: none) and rest positions (J, 3) of the joints."""
    skin, nodes = glb.tree["skins"][0], glb.tree["nodes"]
    joints: list[int] = skin["joints"]
    at = {node: index for index, node in enumerate(joints)}
    parents = [-1] * len(joints)
    for node in joints:
        for child in nodes[node].get("children", ()):
            parents[at[child]] = at[node]
    # Rest rotations are identity, so the inverse bind matrix (column-major) is minus the position.
    places = -glb.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4)[:, 3, :3]
    return [nodes[node]["name"] for node in joints], parents, places.astype(np.float32)


def _roles(
    names: list[str], parents: list[int], places: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The role that moves each joint (J,), and the rest position of each role (19, 3).

    Fingers, toes and twist joints move with their nearest ancestor that has a role.
    """
    rig = 0 if "Hips" in names else 1
    at = {name: index for index, name in enumerate(names)}
    joint_of = []
    for role in ROLES:
        side, _, rest = role.partition("_")
        pattern = _JOINTS[rest if side in _SIDES else role][rig]
        joint_of.append(at[pattern.format(*_SIDES.get(side, ("", "")))])
    role_of = {joint: role for role, joint in enumerate(joint_of)}
    moved_by = np.zeros(len(names), np.uint8)
    for joint in range(len(names)):
        ancestor = joint
        for _ in names:  # no longer than the skeleton, in whose file a joint may be its own ancestor
            if ancestor in role_of or parents[ancestor] < 0:
                break
            ancestor = parents[ancestor]
        moved_by[joint] = role_of.get(ancestor, 0)
    return moved_by, places[joint_of]


def _atlas(
    glb: _Glb,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[tuple[int, int, int, int]]]:
    """All textures in one picture, the regions of its texels, and each material's (left, top, width, height).

    The largest texture fills the left half; the others share a grid in the right half.
    """
    atlas = np.zeros((ATLAS_HEIGHT, ATLAS_WIDTH, 4), np.uint8)
    regions = np.zeros((ATLAS_HEIGHT, ATLAS_WIDTH), np.uint8)
    materials = glb.tree["materials"]
    images = [_material_image(glb, material) for material in materials]
    largest = max(range(len(images)), key=lambda i: images[i].shape[0] * images[i].shape[1])
    boxes = [(0, 0, 0, 0)] * len(images)
    others = [i for i in range(len(images)) if i != largest]
    rows = 2 if len(others) <= 4 else 3
    side = ATLAS_HEIGHT // rows
    if len(others) > 2 * rows:
        raise ValueError(f"{glb.path} has {len(images)} materials, more than an atlas holds")
    boxes[largest] = (0, 0, 512, 512)
    for place, index in enumerate(others):
        boxes[index] = (512 + 256 * (place % 2), side * (place // 2), 256, side)
    for material, image, (left, top, width, height) in zip(materials, images, boxes, strict=True):
        cell = np.s_[top : top + height, left : left + width]
        atlas[cell] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        extras = material["extras"]
        if extras["region"] == "mask":
            mask = glb.image(extras["mask_image"])
            regions[cell] = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        elif extras["region"] in REGIONS:
            regions[cell] = REGIONS.index(extras["region"])
    return atlas, regions, boxes


def _material_image(glb: _Glb, material: dict[str, Any]) -> NDArray[np.uint8]:
    """(H, W, 4) RGBA; opaque where the material has no cut-outs."""
    texture = material["pbrMetallicRoughness"]["baseColorTexture"]["index"]
    image = glb.image(glb.tree["textures"][texture]["source"])
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.shape[2] == 4 and material.get("alphaMode") == "MASK":
        return image
    return np.dstack([image[:, :, :3], np.full(image.shape[:2], 255, np.uint8)])
