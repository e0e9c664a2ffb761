"""How people move: personal gaits and poses as one rotation per part of the body.

A pose is a model-space rotation for each of 19 roles (`ROLES`); fingers, toes and twist joints move with
them. The walk follows the usual course of hip, knee and ankle angles over a gait cycle (Perry, "Gait
Analysis", 1992), varied from person to person, so that how somebody walks is part of who it is.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Arm = Literal["swing", "hang", "carry", "phone", "pocket", "bent"]
Activity = Literal["walk", "stand", "turn"]

_LIMBS = ("shoulder", "upper_arm", "lower_arm", "hand", "upper_leg", "lower_leg", "foot")
ROLES = (
    *("hips", "spine", "chest", "neck", "head"),
    *(f"left_{limb}" for limb in _LIMBS),
    *(f"right_{limb}" for limb in _LIMBS),
)
_INDEX = {role: index for index, role in enumerate(ROLES)}
# The first role of each side hangs on the trunk, the others on the one before.
_PARENTS = [-1, 0, 1, 2, 3, 2, 5, 6, 7, 0, 9, 10, 2, 12, 13, 14, 0, 16, 17]
_DOWN = np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class Gait:
    """How one person walks and carries the body. Angles in degrees.

    Attributes:
        cycle_s: Seconds of a gait cycle (two steps) when walking.
        stride: Amplitude of the legs, 1 is usual.
        arm_swing: Amplitude of the arms, 1 is usual.
        arm_spread: Of the arms from the body.
        lean: Of the trunk, forward.
        head_pitch: Downward, as when looking at the ground.
        toe_out: Of the feet.
        stance: Of each leg outward.
        bounce: Of the shoulders, sideways.
    """

    cycle_s: float
    stride: float
    arm_swing: float
    arm_spread: float
    lean: float
    head_pitch: float
    toe_out: float
    stance: float
    bounce: float


@dataclass(frozen=True)
class Bearing:
    """What the body does during one tracklet.

    Attributes:
        activity: Walking, standing, or turning on the spot.
        left_arm: See `Arm`; `carry` hangs still with something in the hand.
        right_arm: Likewise.
        phase: Of the gait cycle at time 0, in [0, 1).
        head_yaw: Degrees, positive to the left.
    """

    activity: Activity
    left_arm: Arm
    right_arm: Arm
    phase: float
    head_yaw: float


def sample_gait(rng: np.random.Generator) -> Gait:
    """A person's own gait."""
    return Gait(
        cycle_s=rng.uniform(0.95, 1.3),
        stride=rng.uniform(0.7, 1.12),
        arm_swing=rng.uniform(0.3, 1.35),
        arm_spread=rng.uniform(3, 14),
        lean=rng.uniform(-2, 8),
        head_pitch=rng.uniform(-6, 16),
        toe_out=rng.uniform(0, 12),
        stance=rng.uniform(0.5, 4),
        bounce=rng.uniform(0, 3),
    )


def walking_speed(gait: Gait, height: float) -> float:
    """Metres a second of a person of that height in metres, so that planted feet stay in place."""
    return 1.32 * gait.stride / gait.cycle_s * height / 1.75


def skin_matrices(
    joints: NDArray[np.float32], gait: Gait, bearing: Bearing, times: Floats
) -> NDArray[np.float32]:
    """Poses of a person over time.

    Args:
        joints: (19, 3) rest positions of the roles, in metres.
        gait: How the person moves.
        bearing: What the person does.
        times: (T,) seconds.

    Returns:
        (T, 19, 3, 4) matrices from the rest pose to the pose, in model space: the person faces and walks
        along +Z and stays over the origin, the lower foot on y = 0.
    """
    turns = _rotations(joints, gait, bearing, times)  # (T, 19, 3, 3)
    rest = joints.astype(np.float64)
    places = np.empty((len(times), len(ROLES), 3))
    for role, parent in enumerate(_PARENTS):
        if parent < 0:
            places[:, role] = rest[role]
        else:
            places[:, role] = places[:, parent] + turns[:, parent] @ (rest[role] - rest[parent])
    feet = [_INDEX["left_foot"], _INDEX["right_foot"]]
    soles = np.stack([_lowest_of_foot(turns[:, f], places[:, f], rest[f]) for f in feet])
    places[:, :, 1] -= soles.min(0)[:, None]
    moved = places - np.einsum("trij,rj->tri", turns, rest)
    return np.concatenate([turns, moved[..., None]], axis=3).astype(np.float32)


def _lowest_of_foot(turns: Floats, places: Floats, rest: Floats) -> Floats:
    """(T,) height of the lower of heel and ball, which lie on y = 0 at rest."""
    heel, ball = np.array([0, -rest[1], -0.05]), np.array([0, -rest[1], 0.13])
    return np.asarray(np.minimum((turns @ heel)[:, 1], (turns @ ball)[:, 1]) + places[:, 1])


def _rotations(joints: NDArray[np.float32], gait: Gait, bearing: Bearing, times: Floats) -> Floats:
    """(T, 19, 3, 3) model-space rotation of each role."""
    walking = 1.0 if bearing.activity == "walk" else 0.0
    phase = times / gait.cycle_s + bearing.phase
    swing = gait.stride * walking
    sway = 2 * np.pi * phase if walking else 2 * np.pi * times / 4.7 + 6 * bearing.phase
    yaw = 5 * swing * np.cos(2 * np.pi * phase)
    turns = np.broadcast_to(np.eye(3), (len(times), len(ROLES), 3, 3)).copy()

    def put(role: str, value: Floats) -> None:
        turns[:, _INDEX[role]] = value

    put("hips", _ry(-yaw) @ _rz((1 + swing) * np.sin(sway)) @ _rx(np.full_like(times, 0.4 * gait.lean)))
    put("spine", _ry(0.2 * yaw) @ _rx(np.full_like(times, 0.8 * gait.lean)))
    chest = _ry(yaw) @ _rz(-gait.bounce * np.sin(sway)) @ _rx(np.full_like(times, gait.lean))
    put("chest", chest)
    head = _ry(bearing.head_yaw + 4 * np.sin(0.7 * times + 9 * bearing.phase))
    put("neck", _ry(np.full_like(times, 0.4 * bearing.head_yaw)) @ _rx(np.full_like(times, 0.6 * gait.lean)))
    put("head", head @ _rx(np.full_like(times, gait.head_pitch)))
    for side, sign, arm, lag in (
        ("left", 1.0, bearing.left_arm, 0.0),
        ("right", -1.0, bearing.right_arm, 0.5),
    ):
        put(f"{side}_shoulder", chest)
        for role, value in _leg(joints, gait, side, sign, (phase + lag) % 1, swing).items():
            put(role, value)
        for role, value in _arm(joints, gait, side, sign, (phase + lag) % 1, swing, arm).items():
            put(role, chest @ value)
    return turns


def _leg(
    joints: NDArray[np.float32], gait: Gait, side: str, sign: float, phase: Floats, swing: float
) -> dict[str, Floats]:
    hip = 3 + 3 * swing + swing * (22 * np.cos(2 * np.pi * phase)) + 3 * swing * np.cos(4 * np.pi * phase)
    knee = 3 + swing * (3 + 12 * _bump(phase, 0.13, 0.07) + 54 * _bump(phase, 0.72, 0.11))
    ankle = swing * (8 * _bump(phase, 0.42, 0.13) - 18 * _bump(phase, 0.62, 0.06))
    outward = _rz(np.full_like(phase, sign * gait.stance))
    toes = _ry(np.full_like(phase, sign * gait.toe_out))
    upper, lower, foot = (joints[_INDEX[f"{side}_{limb}"]] for limb in ("upper_leg", "lower_leg", "foot"))
    thigh = (outward @ _rx(-hip)) @ _DOWN
    shin = (outward @ _rx(knee - hip)) @ _DOWN
    return {
        f"{side}_upper_leg": toes @ _aim(lower - upper, thigh),
        f"{side}_lower_leg": toes @ _aim(foot - lower, shin),
        f"{side}_foot": toes @ _rx(knee - hip - ankle),
    }


def _arm(
    joints: NDArray[np.float32], gait: Gait, side: str, sign: float, phase: Floats, swing: float, arm: Arm
) -> dict[str, Floats]:
    wave = swing * gait.arm_swing * np.cos(2 * np.pi * (phase + 0.5))
    # forward lift, elbow bend, spread, inward turn of the lower arm; degrees
    lift, bend, spread, inward = {
        "swing": (20 * wave - 2, 14 + 10 * np.maximum(wave + 0.6, 0), gait.arm_spread, 6.0),
        "hang": (5 * wave - 1, 9 + 3 * wave, gait.arm_spread * 0.7, 4.0),
        "carry": (6 * wave, 7 + 2 * wave, gait.arm_spread + 3, 2.0),
        "phone": (22 + 2 * wave, 118 + 2 * wave, 8.0, 18.0),
        "pocket": (-14 + 2 * wave, 34 + 2 * wave, 20.0, 26.0),
        "bent": (4 + 4 * wave, 82 + 4 * wave, 10.0, 20.0),
    }[arm]
    upper, lower, hand = (joints[_INDEX[f"{side}_{limb}"]] for limb in ("upper_arm", "lower_arm", "hand"))
    still = np.full_like(phase, 1.0)
    out = _rz(sign * spread * still)
    along_upper = (out @ _rx(-lift * still)) @ _DOWN
    along_lower = (
        _ry(-sign * inward * still) @ _rz(sign * 0.4 * spread * still) @ _rx(-(lift + bend) * still)
    ) @ _DOWN
    turned = _aim(hand - lower, along_lower)
    return {
        f"{side}_upper_arm": _aim(lower - upper, along_upper),
        f"{side}_lower_arm": turned,
        f"{side}_hand": turned,
    }


def _bump(phase: Floats, middle: float, width: float) -> Floats:
    """A bell over the gait cycle."""
    return np.asarray(np.exp(-((((phase - middle + 0.5) % 1 - 0.5) / width) ** 2)))


def _aim(source: NDArray[np.float32], targets: Floats) -> Floats:
    """(T, 3, 3) smallest rotations from one direction (3,) to each of (T, 3)."""
    a = source / np.linalg.norm(source)
    b = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    axis = np.cross(a, b)  # (T, 3)
    cross = np.zeros((len(b), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= cross.transpose(0, 2, 1)
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + b @ a + 1e-9)[:, None, None])


def _rx(degrees: Floats) -> Floats:
    return _axis_rotation(degrees, 1, 2)


def _ry(degrees: Floats) -> Floats:
    return _axis_rotation(degrees, 2, 0)


def _rz(degrees: Floats) -> Floats:
    return _axis_rotation(degrees, 0, 1)


def _axis_rotation(degrees: Floats, first: int, second: int) -> Floats:
    """(T, 3, 3) rotations that turn axis `first` towards axis `second`."""
    angles = np.radians(np.atleast_1d(degrees))
    turns = np.broadcast_to(np.eye(3), (len(angles), 3, 3)).copy()
    turns[:, first, first] = turns[:, second, second] = np.cos(angles)
    turns[:, second, first] = np.sin(angles)
    turns[:, first, second] = -np.sin(angles)
    return turns
