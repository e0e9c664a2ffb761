"""What people carry and wear on top of their clothes, as rigid parts hung on single joints.

Everything is made in the model space of the rest pose: metres, Y up, the person faces +Z, its left is +X.
What a hand or lower arm carries is shaped for an arm that hangs straight down and then turned with the arm
into the rest pose, so that it hangs right once the arm does. A coat and a bag lie on a torso that is
taken for a rounded column; they stand a finger's breadth off it, as clothes differ.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from synthetic.body import (
    PALM,
    Body,
    Colour,
    Part,
    Side,
    belt,
    curve,
    hung,
    palm_height,
    shift,
    sign,
    smallest_turn,
    strap,
    tilt,
    torso,
)
from synthetic.mesh import Mesh, box, cylinder, dome, ellipsoid, join, ribbon, rounded_box, tube

__all__ = ["KINDS", "Body", "Part", "Side", "build"]


def build(kind: str, body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    """Makes an accessory to measure.

    Args:
        kind: One of `KINDS`.
        body: Who carries it.
        side: Which hand, hip or shoulder carries it; what is worn in the middle ignores it.
        rng: Sizes and details.

    Returns:
        Its parts; triangles of all together at most 600.
    """
    if kind not in _BUILDERS:
        raise ValueError(f"there is no accessory {kind!r}; there are {', '.join(KINDS)}")
    return _BUILDERS[kind](body, side, rng)


# ---- bags ----


def _backpack(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    width, height, depth = rng.uniform((0.25, 0.36, 0.12), (0.34, 0.50, 0.21))
    back, top = body.chest_depth_back, body.shoulder_y - rng.uniform(0.01, 0.06)
    middle = np.array([0, top - height / 2, back - depth / 2 + 0.01])
    sack = rounded_box((width, height, depth), 0.4 * depth).moved(np.eye(3), middle)
    pocket = rounded_box((width * 0.8, height * rng.uniform(0.35, 0.5), depth * 0.5), 0.04)
    pocket = pocket.moved(np.eye(3), middle - (0, height * 0.2, depth * 0.42))
    wide = rng.uniform(0.045, 0.07)
    straps = join([_shoulder_strap(body, s, top, top - height * 0.85, wide) for s in (1.0, -1.0)])
    return [Part(sack, "chest", "main"), Part(pocket, "chest", "second"),
            Part(straps, "chest", "second" if rng.random() < 0.4 else "main")]  # fmt: skip


def _shoulder_strap(body: Body, s: float, top: float, bottom: float, width: float) -> Mesh:
    """From the top of a backpack over a shoulder and under the arm back to its bottom."""
    shoulder, chest = body.at("left_upper_arm"), float(body.at("chest")[1])
    x, back = s * 0.55 * abs(float(shoulder[0])), body.chest_depth_back
    points: list[ArrayLike] = [
        (x * 0.7, top - 0.03, back - 0.01),
        (x, body.shoulder_y + 0.02, float(shoulder[2]) - 0.02),
        torso(body, body.shoulder_y - 0.05, s * 0.6, 0.025),
        torso(body, chest + 0.02, s * 0.62, 0.03),
        torso(body, chest - 0.08, s * 1.1, 0.03),
        torso(body, chest - 0.14, s * 1.75, 0.03),
        (x * 1.1, bottom, back - 0.02),
    ]
    return strap(curve(points, 3), (x * 0.7, chest, 0.5 * (body.chest_depth_front + back)), width)


def _shoulder_bag(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    s = sign(side)
    long, height, thick = rng.uniform((0.22, 0.18, 0.07), (0.36, 0.30, 0.13))
    behind = float(body.at(f"{side}_upper_leg")[2]) + rng.uniform(-0.08, 0.04)
    top = float(body.at("hips")[1]) + rng.uniform(0.0, 0.1)
    x = s * (body.hip_width / 2 + thick / 2 + 0.015)
    bag = shift(rounded_box((thick, height, long), 0.03), x, top - height / 2, behind)
    flap = shift(rounded_box((thick * 1.12, height * 0.5, long * 1.02), 0.02), x, top - height / 4, behind)
    shoulder = -s * 0.6 * abs(float(body.at("left_upper_arm")[0]))
    over = (shoulder, body.shoulder_y + 0.02, float(body.at("left_upper_arm")[2]))
    front = [torso(body, y, s * a, 0.03) for y, a in _across(body, top)]
    rear = [torso(body, y, s * (np.pi - a), 0.03) for y, a in _across(body, top)]
    ends = [np.array([x, top - 0.03, behind + z * long * 0.45]) for z in (1, -1)]
    path = curve([ends[0], *front, over, *rear[::-1], ends[1]], 3)
    middle = 0.5 * (body.chest_depth_front + body.chest_depth_back)
    band = strap(path, (0, 0.5 * (top + body.shoulder_y), middle), rng.uniform(0.025, 0.05))
    return [Part(bag, "hips", "main"), Part(flap, "hips", "second" if rng.random() < 0.3 else "main"),
            Part(band, "chest", "second")]  # fmt: skip


def _across(body: Body, low: float) -> list[tuple[float, float]]:
    """Heights and angles at which a strap runs from one hip over the middle to the other shoulder."""
    high = body.shoulder_y - 0.04
    return [(low + t * (high - low), a) for t, a in ((0.25, 0.75), (0.5, 0.3), (0.75, -0.2), (1.0, -0.75))]


def _handled(
    sack: Mesh, top: float, reach: float, apart: float, rng: np.random.Generator
) -> tuple[Mesh, Mesh]:
    """A bag's body and its two handles up to the palm; `top` is the bag's upper edge below the wrist."""
    handles = []
    for x in (-apart / 2, apart / 2):
        points = [(x, -top - 0.01, -reach), (x * 0.6, -PALM - 0.3 * (top - PALM), -reach * 0.7),
                  (0, -PALM + 0.01, 0), (x * 0.6, -PALM - 0.3 * (top - PALM), reach * 0.7),
                  (x, -top - 0.01, reach)]  # fmt: skip
        handles.append(tube(curve(points, 2), rng.uniform(0.005, 0.009), 4, capped=False))
    return sack, join(handles)


def _carried(
    size: ArrayLike, drop: float, radius: float, body: Body, side: Side, rng: np.random.Generator
) -> list[Part]:
    """A bag `(thickness, height, length)` in the hand, hanging `drop` below the palm, with two handles."""
    thick, height, long = np.asarray(size, np.float64)
    top = PALM + drop
    sack = rounded_box((thick, height, long), radius) if radius else box((thick, height, long))
    sack, handles = _handled(shift(sack, 0, -top - height / 2, 0), top, long * 0.25, thick * 0.7, rng)
    return [Part(hung(sack, body, side), f"{side}_hand", "main"),
            Part(hung(handles, body, side), f"{side}_hand", "second")]  # fmt: skip


def _handbag(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    return _carried(rng.uniform((0.09, 0.18, 0.24), (0.15, 0.27, 0.36)), rng.uniform(0.08, 0.16), 0.035,
                    body, side, rng)  # fmt: skip


def _laptop_bag(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    parts = _carried(rng.uniform((0.06, 0.27, 0.36), (0.10, 0.32, 0.44)), 0.04, 0.02, body, side, rng)
    pocket = rounded_box((0.03, 0.2, 0.3), 0.015)
    pocket = shift(pocket, sign(side) * 0.04, -PALM - 0.04 - 0.18, 0)
    return [*parts, Part(hung(pocket, body, side), f"{side}_hand", "second")]


def _shopping_bag(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    if rng.random() < 0.4:  # of paper
        return _carried(rng.uniform((0.09, 0.26, 0.22), (0.15, 0.40, 0.36)), 0.11, 0, body, side, rng)
    width, height = rng.uniform((0.13, 0.26), (0.22, 0.40))
    low = float(np.clip(palm_height(body, side) - 0.06, 0.2, 0.08 + height))
    bulge = ellipsoid((width / 2, height * 0.36, width * 0.62), 6, 10)
    bulge = shift(bulge, 0, -PALM - low + height * 0.36, 0)
    points = [(0, -PALM + 0.01, 0), (0, -PALM - 0.08, 0), (0, -PALM - low + height * 0.5, 0)]
    neck = tube(points, (0.012, 0.03, width * 0.36), 8)
    return [Part(hung(join([bulge, neck]), body, side), f"{side}_hand", "main")]


def _tote(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    s = sign(side)
    thick, height, long = rng.uniform((0.07, 0.28, 0.30), (0.14, 0.40, 0.42))
    shoulder = body.at(f"{side}_upper_arm")
    top = float(body.at("chest")[1]) - rng.uniform(-0.02, 0.1)
    x = s * (max(0.95 * abs(float(shoulder[0])), 0.9 * body.hip_width / 2) + thick / 2)
    z = float(shoulder[2]) + rng.uniform(-0.1, 0.02)
    sack = shift(rounded_box((thick, height, long), 0.035), x, top - height / 2, z)
    loops = []
    for off in (-0.012, 0.012):
        over = (shoulder[0] * 0.88 + off, body.shoulder_y + 0.02, shoulder[2])
        outer = x + np.sign(off) * thick * 0.3
        points = [
            (outer, top - 0.02, z + long * 0.3),
            (x * 0.97 + off, shoulder[1], shoulder[2] + 0.08),
            over,
            (x * 0.97 + off, shoulder[1], shoulder[2] - 0.09),
            (outer, top - 0.02, z - long * 0.3),
        ]
        loops.append(ribbon(curve(points, 3), (1, 0.2, 0), 0.025))
    return [Part(sack, "chest", "main"), Part(join(loops), "chest", "second")]


def _suitcase(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    width, tall, deep = rng.uniform((0.34, 0.48, 0.20), (0.46, 0.68, 0.30))
    rod = rng.uniform(0.38, 0.5)
    reach = max(palm_height(body, side), 0.3)
    long, corner = np.hypot(rod + tall, deep / 2), np.arctan2(deep / 2, rod + tall)
    lean = -np.degrees(np.arccos(min(reach / (long + 0.02), 0.98)) + corner)  # its lower edge on the ground
    case = shift(rounded_box((width, tall, deep), 0.05), 0, -rod - tall / 2, 0)
    band = shift(box((width * 1.01, 0.03, deep * 1.01)), 0, -rod - tall * rng.uniform(0.2, 0.7), 0)
    grip = box((0.14, 0.025, 0.03))
    rods = [shift(box((0.014, rod, 0.014)), x, -rod / 2, 0) for x in (-0.06, 0.06)]
    wheels = [shift(ellipsoid((0.015, 0.03, 0.03), 4, 6), x, -rod - tall, deep * 0.45)
              for x in (-width * 0.4, width * 0.4)]  # fmt: skip
    turn, palm = tilt(lean), (sign(side) * 0.03, -PALM, 0)
    parts: list[tuple[list[Mesh], Colour]] = [([case], "main"), ([band, grip, *rods, *wheels], "second")]
    return [Part(hung(join(m).moved(turn, palm), body, side), f"{side}_hand", c) for m, c in parts]


def _waist_pouch(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    width, height, depth = rng.uniform((0.18, 0.10, 0.06), (0.30, 0.16, 0.10))
    y = float(body.at("hips")[1]) + rng.uniform(0.03, 0.1)
    angle = rng.choice([0.0, 0.35 * sign(side), np.pi])
    at = torso(body, y, angle, 0.02 + depth / 2)
    c, s = np.cos(angle), np.sin(angle)
    pouch = rounded_box((width, height, depth), 0.03).moved([[c, 0, s], [0, 1, 0], [-s, 0, c]], at)
    band = ribbon(belt(body, y, 0.025), (0, 1, 0), 0.035)
    return [Part(pouch, "hips", "main"), Part(band, "hips", "second")]


# ---- on the head and round the neck ----


def _on_head(body: Body, mesh: Mesh) -> Mesh:
    return mesh.moved(np.eye(3), body.head_centre)


def _cap(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    r = body.head_radius
    crown = dome((1.15 * r, body.crown + 0.012, 1.32 * r), 1.6, 5, 14)
    brim = ellipsoid((0.85 * r, 0.012, rng.uniform(0.75, 0.95) * r), 4, 14)
    brim = brim.moved(tilt(-rng.uniform(4, 14)), (0, 0.06 * r, 1.5 * r))
    if rng.random() < 0.06:  # worn back to front
        half_turn = np.diag([-1.0, 1.0, -1.0])
        brim = brim.moved(half_turn, (0, 0, 0))
    return [Part(_on_head(body, crown), "head", "main"),
            Part(_on_head(body, brim), "head", "second" if rng.random() < 0.4 else "main")]  # fmt: skip


def _beanie(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    r = body.head_radius
    crown = dome((1.16 * r, body.crown + rng.uniform(0.012, 0.04), 1.33 * r), 1.5, 5, 14)
    parts = [Part(_on_head(body, crown), "head", "main")]
    around = np.linspace(0, 2 * np.pi, 15)
    ring = np.stack([1.19 * r * np.sin(around), 0 * around + 0.1 * r, 1.37 * r * np.cos(around)], 1)
    roll = ribbon(ring, (0, 1, 0), 0.06, thickness=0.02)
    parts.append(Part(_on_head(body, roll), "head", "second" if rng.random() < 0.5 else "main"))
    if rng.random() < 0.25:
        bobble = shift(ellipsoid((0.035, 0.035, 0.035), 4, 8), 0, body.crown + 0.045, 0)
        parts.append(Part(_on_head(body, bobble), "head", "second"))
    return parts


def _hat(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    r = body.head_radius
    reach, tall = rng.uniform(1.8, 2.5) * r, body.crown + rng.uniform(0, 0.03)
    crown = cylinder(1.18 * r, 0.95 * r, tall, 14).scaled((1, 1, 1.12))
    brim = dome((reach, rng.uniform(0.02, 0.07), reach * 1.08), np.pi / 2, 3, 16)
    under = brim.moved(np.diag([1.0, -1.0, -1.0]), (0, 0, 0)).scaled((1, 0.2, 1))
    band = cylinder(1.2 * r, 1.15 * r, 0.035, 14, capped=False).scaled((1, 1, 1.12))
    lift = 0.12 * r
    shapes: list[tuple[Mesh, Colour]] = [
        (join([shift(crown, 0, lift, 0), shift(join([brim, under]), 0, lift - 0.01, 0)]), "main"),
        (shift(band, 0, lift + 0.01, 0), "second"),
    ]
    return [Part(_on_head(body, mesh), "head", colour) for mesh, colour in shapes]


def _helmet(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    r = body.head_radius
    shell = dome((1.35 * r, body.crown + 0.035, 1.5 * r), rng.uniform(1.7, 2.0), 6, 14)
    around = np.linspace(-np.pi, np.pi, 13)
    ring = np.stack([1.37 * r * np.sin(around), 0 * around, 1.52 * r * np.cos(around)], 1)
    stripe = ribbon(ring, (0, 1, 0), 0.03)
    peak = shift(ellipsoid((0.9 * r, 0.01, 0.5 * r), 4, 10), 0, 0.1 * r, 1.55 * r)
    second = join([stripe, peak])
    return [Part(_on_head(body, shell), "head", "main"), Part(_on_head(body, second), "head", "second")]


def _headphones(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    r, cup = body.head_radius, rng.uniform(0.032, 0.045)
    cups = [shift(ellipsoid((0.022, cup, cup * 0.9), 5, 10), x * 1.1 * r, -0.25 * r, 0) for x in (1, -1)]
    angles = np.linspace(-np.pi / 2, np.pi / 2, 11)
    tall = body.crown + 0.015 + 0.25 * r
    bow = np.stack([1.15 * r * np.sin(angles), tall * np.cos(angles) - 0.25 * r, 0 * angles], 1)
    band = tube(bow, 0.011, 5)
    return [Part(_on_head(body, join(cups)), "head", "main"),
            Part(_on_head(body, band), "head", "second")]  # fmt: skip


def _hood_down(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    thick = rng.uniform(0.028, 0.042)
    neck = body.at("neck")
    reach = body.head_radius * 1.05
    angles = np.linspace(0.35 * np.pi, 1.65 * np.pi, 12)
    rise = 0.02 - 0.05 * np.cos(angles / 2) ** 2
    roll = np.stack([reach * np.sin(angles), neck[1] + rise, neck[2] + 0.9 * reach * np.cos(angles)], 1)
    tapered = thick * np.sin(np.linspace(0.35, np.pi - 0.35, 12)) ** 0.7
    sack = ellipsoid((reach * 0.95, rng.uniform(0.08, 0.12), 0.045), 6, 10)
    z = min(body.chest_depth_back * 0.95, neck[2] - reach * 0.8)
    sack = sack.moved(tilt(-12), (0, neck[1] - 0.07, z))
    return [Part(join([tube(roll, tapered, 7), sack]), "chest", "main")]


def _scarf(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    thick = rng.uniform(0.03, 0.045)
    neck = body.at("neck")
    angles = np.linspace(0, 2 * np.pi, 15)
    reach = body.head_radius * 0.9
    ring = np.stack([reach * np.sin(angles), neck[1] + 0.02 - 0.025 * np.cos(angles),
                     neck[2] + 0.01 + reach * np.cos(angles)], 1)  # fmt: skip
    parts = [Part(tube(ring, thick, 7, capped=False), "neck", "main")]
    for x in (-0.04, 0.05) if rng.random() < 0.7 else ():
        length = rng.uniform(0.2, 0.5)
        heights = [neck[1] - 0.03, neck[1] - 0.03 - length / 2, neck[1] - 0.03 - length]
        points = [torso(body, float(y), float(np.arcsin(x / 0.2)), 0.03) for y in heights]
        end = ribbon(curve(points, 3), (1, 0, 0), rng.uniform(0.09, 0.15), thickness=0.015)
        parts.append(Part(end, "chest", "second" if rng.random() < 0.3 else "main"))
    return parts


# ---- over the arm, round the waist, in the hand ----


def _coat_over_arm(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    """For a lower arm bent to the front, from which the cloth falls on both sides."""
    s = sign(side)
    along, fall = rng.uniform(0.2, 0.28), rng.uniform(0.3, 0.5)
    arm = float(np.linalg.norm(body.at(f"{side}_hand") - body.at(f"{side}_lower_arm")))
    layers = [ellipsoid((0.065, 0.06, along / 2), 6, 10)]
    for x, length in ((s * 0.045, fall), (-s * 0.03, fall * rng.uniform(0.5, 0.9))):
        fold = rounded_box((0.035, length, along * rng.uniform(0.9, 1.1)), 0.017)
        layers.append(shift(fold, x, 0.02 - length / 2, rng.normal(0, 0.01)))
    forward = np.array([-0.33 * s, -0.1, 0.94])
    turn = smallest_turn((0, 0, 1), forward)
    draped = join(layers).moved(turn, forward / np.linalg.norm(forward) * 0.65 * arm)
    rested = hung(draped, body, side, "lower_arm", (forward[0], forward[1], forward[2]))
    return [Part(rested, f"{side}_lower_arm", "main")]


def _jacket_round_waist(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    y = float(body.at("hips")[1]) + rng.uniform(0.04, 0.1)
    fall = rng.uniform(0.32, 0.5)
    knot = tube(belt(body, y, 0.03), 0.028, 6, capped=False)
    behind = belt(body, y - fall / 2, 0.045, 0.64 * np.pi, 1.36 * np.pi, 11)
    flare = np.array([[0.0, 1.0, 0.12]])
    cloth = ribbon(behind, np.broadcast_to(flare, behind.shape), fall, thickness=0.02)
    sleeves = []
    for s in (-1.0, 1.0):
        points = [torso(body, y, s * 0.05, 0.04), torso(body, y - 0.12, s * 0.2, 0.045),
                  torso(body, y - rng.uniform(0.25, 0.38), s * 0.25, 0.05)]  # fmt: skip
        sleeves.append(tube(curve(points, 3), (0.03, *[0.036] * 5, 0.028), 6))
    return [Part(join([knot, cloth]), "hips", "main"), Part(join(sleeves), "hips", "main")]


def _umbrella(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    length = min(rng.uniform(0.5, 0.85), palm_height(body, side) - 0.03)
    canopy = cylinder(0.008, rng.uniform(0.025, 0.045), length * 0.75, 8)
    canopy = shift(canopy, 0, -length + 0.06, 0)
    stick = shift(cylinder(0.006, 0.006, length + 0.05, 6), 0, -length, 0)
    handle = tube(curve([(0, 0.03, 0), (0, 0.09, 0.01), (0, 0.11, 0.05), (0, 0.07, 0.07)], 2), 0.011, 5)
    turn, palm = tilt(rng.uniform(0, 25)), (0, -PALM, 0)
    parts: list[tuple[Mesh, Colour]] = [(canopy, "main"), (join([stick, handle]), "second")]
    return [Part(hung(m.moved(turn, palm), body, side), f"{side}_hand", c) for m, c in parts]


def _phone(body: Body, side: Side, rng: np.random.Generator) -> list[Part]:
    slab = box((0.010, 0.155, 0.076), (-sign(side) * 0.02, -PALM - 0.01, 0.02))
    return [Part(hung(slab, body, side), f"{side}_hand", "main")]


_BUILDERS: Mapping[str, Callable[[Body, Side, np.random.Generator], list[Part]]] = {
    "backpack": _backpack, "shoulder_bag": _shoulder_bag, "handbag": _handbag, "tote": _tote,
    "shopping_bag": _shopping_bag, "suitcase": _suitcase, "laptop_bag": _laptop_bag, "cap": _cap,
    "beanie": _beanie, "hat": _hat, "hood_down": _hood_down, "scarf": _scarf,
    "coat_over_arm": _coat_over_arm, "umbrella_closed": _umbrella, "phone": _phone, "helmet": _helmet,
    "waist_pouch": _waist_pouch, "jacket_tied_round_waist": _jacket_round_waist,
    "headphones": _headphones,
}  # fmt: skip
KINDS = tuple(_BUILDERS)
