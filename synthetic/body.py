"""A body that carries things: where its joints and surfaces are, and how things are put on it.

Everything is in the model space of the rest pose: metres, Y up, the person faces +Z, its left is +X.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthetic.mesh import Mesh, ribbon

Side = Literal["left", "right"]
Colour = Literal["main", "second"]
Vector = NDArray[np.float64]

PALM = 0.085  # from the wrist to where the fingers close, metres


@dataclass(frozen=True)
class Part:
    """One rigid piece of an accessory.

    Attributes:
        mesh: In rest-pose model space; its texture fills 0 to 1.
        role: The joint that carries it.
        colour: Which of the accessory's two colours it has.
    """

    mesh: Mesh
    role: str
    colour: Colour


@dataclass(frozen=True)
class Body:
    """Where a person's body is in the rest pose, in metres.

    Attributes:
        joints: Role to `(3,) float32` position.
        height: Of the whole person.
        chest_depth_front: z of the front of the body at chest height, above 0.
        chest_depth_back: z of the back there, below 0.
        shoulder_width: Between the joints of the upper arms.
        hip_width: Between the outer sides of the hips.
        head_top: y of the top of the head, hair included.
        head_radius: Half the width of the head.
        head_front: z of the face.
    """

    joints: Mapping[str, NDArray[np.float32]]
    height: float
    chest_depth_front: float
    chest_depth_back: float
    shoulder_width: float
    hip_width: float
    head_top: float
    head_radius: float
    head_front: float

    def at(self, role: str) -> Vector:
        """`(3,)` rest position of a joint."""
        return np.asarray(self.joints[role], np.float64)

    @property
    def shoulder_y(self) -> float:
        """Height of the top of the shoulders at their middle."""
        return float(self.at("left_upper_arm")[1]) + 0.035 * self.height

    @property
    def head_centre(self) -> Vector:
        """Middle of the skull."""
        # bounded, as long hair makes a head seem wider than its skull
        z = self.head_front - np.clip(1.22 * self.head_radius, 0.09, 0.115)
        return np.array([self.at("head")[0], self.head_top - self.crown, z])

    @property
    def crown(self) -> float:
        """From the middle of the skull to the top of the head."""
        return float(np.clip(1.18 * self.head_radius, 0.092, 0.11))


def sign(side: Side) -> float:
    return 1.0 if side == "left" else -1.0


def hung(
    mesh: Mesh, body: Body, side: Side, role: str = "hand", pose: tuple[float, float, float] = (0, -1, 0)
) -> Mesh:
    """From a posed arm, its `role` joint at the origin, into the rest pose.

    A hanging arm unless `pose` gives another direction of the lower arm. The turn is the smallest, as is
    the one of a posed arm, or things would roll about it.
    """
    rest = body.at(f"{side}_hand") - body.at(f"{side}_lower_arm")
    return mesh.moved(smallest_turn(pose, rest), body.at(f"{side}_{role}"))


def smallest_turn(start: ArrayLike, end: ArrayLike) -> Vector:
    """`(3, 3)` rotation that takes one direction to another, not its opposite (Rodrigues' formula)."""
    a, b = (v / np.linalg.norm(v) for v in (np.asarray(start, np.float64), np.asarray(end, np.float64)))
    x, y, z = np.cross(a, b)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + a @ b))


def tilt(degrees: float) -> Vector:
    """`(3, 3)` rotation about X: what points down swings to the front."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def shift(mesh: Mesh, x: float, y: float, z: float) -> Mesh:
    return mesh.moved(np.eye(3), (x, y, z))


def palm_height(body: Body, side: Side) -> float:
    """Height above the ground of the palm of a hanging arm."""
    shoulder, elbow, hand = (body.at(f"{side}_{r}") for r in ("upper_arm", "lower_arm", "hand"))
    arm = float(np.linalg.norm(elbow - shoulder) + np.linalg.norm(hand - elbow))
    return float(shoulder[1]) - arm - PALM


def torso(body: Body, y: float, angle: float, off: float) -> Vector:
    """The point of the torso at a height; angle 0 is the front, pi / 2 the left side; `off` outside it."""
    hips, chest, joint = (float(body.at(role)[1]) for role in ("hips", "chest", "left_upper_arm"))
    heights = (hips, chest + 0.06, max(joint, chest + 0.09), body.shoulder_y)
    chest_z, joint_z = (body.chest_depth_front + body.chest_depth_back) / 2, body.at("left_upper_arm")[2]
    middle = np.interp(y, heights, (body.at("left_upper_leg")[2], chest_z, (chest_z + joint_z) / 2, joint_z))
    depth, wide = (body.chest_depth_front - body.chest_depth_back) / 2, body.shoulder_width / 2
    half_width = np.interp(y, heights, (max(body.hip_width / 2, 0.8 * wide), wide, wide, 0.5 * wide)) + off
    half_depth = np.interp(y, heights, (depth, depth, 0.8 * depth, 0.4 * depth)) + off
    sine, cosine = np.sin(angle), np.cos(angle)
    bulge = (abs(sine) ** 2.6 + abs(cosine) ** 2.6) ** (-1 / 2.6)  # a trunk is boxier than an ellipse
    return np.array([half_width * bulge * sine, y, middle + half_depth * bulge * cosine])


def belt(body: Body, y: float, off: float, start: float = 0, end: float = 2 * np.pi, num: int = 21) -> Vector:
    """`(num, 3)` path around the torso at one height."""
    return np.stack([torso(body, y, a, off) for a in np.linspace(start, end, num)])


def curve(points: Sequence[ArrayLike], steps: int = 4) -> Vector:
    """A smooth path through the points (Catmull-Rom), `(steps * (K - 1) + 1, 3)`."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = (np.arange(steps) / steps)[:, None]
    pieces = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        pieces.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.concatenate([*pieces, p[-2:-1]])


def strap(path: Vector, middle: ArrayLike, width: float) -> Mesh:
    """A band whose flat side faces away from an upright axis through `middle`, following the path."""
    along = np.gradient(path, axis=0)
    away = path - np.asarray(middle, np.float64)
    away[:, 1] *= 0.35
    return ribbon(path, np.cross(along, away), width, thickness=0.006)
