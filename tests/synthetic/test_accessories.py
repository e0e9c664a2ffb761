"""Shapes, and things people carry: sound meshes that end up where they belong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from synthetic.accessories import KINDS, Body, Part, Side, build
from synthetic.body import smallest_turn, torso
from synthetic.mesh import (
    Mesh,
    box,
    cylinder,
    dome,
    ellipsoid,
    foliage,
    join,
    quad,
    ribbon,
    rounded_box,
    tube,
)

SIDES: tuple[Side, Side] = ("left", "right")
HELD = ("handbag", "shopping_bag", "suitcase", "laptop_bag", "umbrella_closed", "phone")
ON_HEAD = ("cap", "beanie", "hat", "helmet", "headphones")
CURVE = np.stack([np.linspace(0, 1, 8), np.sin(np.linspace(0, 3, 8)), np.zeros(8)], 1)
CLOSED: dict[str, tuple[Callable[[], Mesh], float | None]] = {
    "box": (lambda: box((1, 2, 3)), 6.0),
    "rounded_box": (lambda: rounded_box((0.3, 0.4, 0.2), 0.05), None),
    "ellipsoid": (lambda: ellipsoid((1, 2, 3), 40, 80), 8 * np.pi),
    "cylinder": (lambda: cylinder(0.5, 0.5, 2, 80), 0.5 * np.pi),
    "cone": (lambda: cylinder(0.5, 0, 3, 80), 0.25 * np.pi),
    "tube": (lambda: tube(CURVE, 0.05, 24), None),
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def body(arm: str = "T") -> Body:
    """1.75 m tall, arms level (T) or 45 degrees down (A) with forearms somewhat forward."""
    joints = {
        "hips": (0, 0.95, 0), "spine": (0, 1.05, 0.02), "chest": (0, 1.22, 0), "neck": (0, 1.48, 0.03),
        "head": (0, 1.58, 0.05),
    }  # fmt: skip
    for side, s in (("left", 1), ("right", -1)):
        reach = (
            {"lower_arm": (0.44, 1.42, 0.02), "hand": (0.68, 1.42, 0.02)}
            if arm == "T"
            else {"lower_arm": (0.34, 1.24, 0.02), "hand": (0.49, 1.08, 0.12)}
        )
        limbs = {"shoulder": (0.06, 1.44, 0.02), "upper_arm": (0.17, 1.42, 0.02), **reach}
        limbs |= {"upper_leg": (0.1, 0.92, 0.05), "lower_leg": (0.1, 0.5, 0.05), "foot": (0.1, 0.09, 0.03)}
        joints |= {f"{side}_{role}": (s * x, y, z) for role, (x, y, z) in limbs.items()}
    places = {role: np.array(place, np.float32) for role, place in joints.items()}
    return Body(places, 1.75, 0.16, -0.08, 0.34, 0.33, 1.75, 0.085, 0.17)


def points(parts: list[Part]) -> np.ndarray:
    return np.concatenate([part.mesh.positions for part in parts])


def hanging(parts: list[Part], who: Body, side: Side) -> np.ndarray:
    """Where parts of the arm go when it hangs straight down from its shoulder."""
    shoulder, elbow, hand = (who.at(f"{side}_{role}") for role in ("upper_arm", "lower_arm", "hand"))
    turn = smallest_turn(hand - elbow, (0, -1, 0))
    length = np.linalg.norm(elbow - shoulder) + np.linalg.norm(hand - elbow)
    return (points(parts) - hand) @ turn.T + shoulder - (0, length, 0)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_shapes_face_outwards(name: str) -> None:
    make, volume = CLOSED[name]
    mesh = make()
    assert_sound(mesh)
    assert mesh.volume > 0
    if volume is not None:
        assert mesh.volume == pytest.approx(volume, rel=0.01)
    middle = mesh.positions.mean(0)
    if name != "tube":
        assert ((mesh.positions - middle) * mesh.normals).sum(1).min() > 0
    for changed in (mesh.scaled((2, 1, 0.5)), mesh.moved(smallest_turn((0, 1, 0), (1, 0, 0)), (5, 6, 7))):
        assert_sound(changed)
        assert changed.volume == pytest.approx(mesh.volume, rel=1e-3)


@pytest.mark.parametrize(
    "mesh",
    [quad(1, 2), dome((1, 1, 1)), ribbon(CURVE, (0, 0, 1), 0.1), foliage(rng(), (1, 1, 1)),
     tube(CURVE, 0.1, capped=False), join([quad(1, 1), box((1, 1, 1), (0, 5, 0), uv_metres=0.5)])],
)  # fmt: skip
def test_open_shapes_are_sound(mesh: Mesh) -> None:
    assert_sound(mesh)


def assert_sound(mesh: Mesh) -> None:
    assert mesh.positions.dtype == mesh.normals.dtype == mesh.uv.dtype == np.float32
    assert mesh.indices.dtype == np.uint32
    assert mesh.positions.shape == mesh.normals.shape == (len(mesh.positions), 3)
    assert mesh.uv.shape == (len(mesh.positions), 2)
    assert mesh.indices.shape[1] == 3
    assert mesh.indices.max() < len(mesh.positions)
    assert all(np.isfinite(values).all() for values in (mesh.positions, mesh.normals, mesh.uv))
    np.testing.assert_allclose(np.linalg.norm(mesh.normals[np.unique(mesh.indices)], axis=1), 1, atol=1e-4)


def test_quad_faces_its_viewer_with_the_picture_upright() -> None:
    mesh = quad(2, 4)
    np.testing.assert_allclose(mesh.normals, [[0, 0, 1]] * 4, atol=1e-6)
    a, b, c = mesh.positions[mesh.indices[0]]
    assert np.cross(b - a, c - a)[2] > 0
    top_left = np.flatnonzero((mesh.uv == 0).all(1))
    np.testing.assert_allclose(mesh.positions[top_left], [[-1, 2, 0]])


def test_boxes_can_be_textured_in_metres() -> None:
    assert box((4, 2, 1)).uv.max() == 1
    assert box((4, 2, 1), uv_metres=2).uv.max() == 2
    rounded = rounded_box((0.3, 0.4, 0.2), 0.05)
    np.testing.assert_allclose(np.ptp(rounded.positions, axis=0), [0.3, 0.4, 0.2], atol=1e-6)


def test_meshes_refuse_what_would_turn_them_inside_out() -> None:
    with pytest.raises(ValueError, match="above 0"):
        box((1, 1, 1)).scaled((-1, 1, 1))
    with pytest.raises(ValueError, match="at least one"):
        join([])


@pytest.mark.parametrize("kind", KINDS)
def test_every_accessory_is_sound_small_and_repeatable(kind: str) -> None:
    for seed in range(6):
        who, side = body("TA"[seed % 2]), SIDES[seed // 2 % 2]
        parts, again = (build(kind, who, side, rng(seed)) for _ in range(2))
        assert sum(len(part.mesh.indices) for part in parts) <= 600
        for part, same in zip(parts, again, strict=True):
            assert_sound(part.mesh)
            assert part.role in who.joints
            assert part.colour in ("main", "second")
            np.testing.assert_array_equal(part.mesh.positions, same.mesh.positions)
            assert part.mesh.uv.min() >= -1e-6
            assert part.mesh.uv.max() <= 1 + 1e-6
        assert any(part.colour == "main" for part in parts)


def test_sizes_differ() -> None:
    heights = [np.ptp(points(build("backpack", body(), "left", rng(k))[:1])[:, 1]) for k in range(10)]
    assert np.ptp(heights) > 0.05


def test_backpack_sits_behind_with_straps_in_front() -> None:
    sack, _, straps = build("backpack", body(), "left", rng())
    assert sack.mesh.positions[:, 2].max() < -0.05
    assert 1.0 < sack.mesh.positions[:, 1].mean() < 1.4
    assert straps.mesh.positions[:, 2].max() > 0.16  # before the chest
    assert np.ptp(straps.mesh.positions[:, 0]) > 0.2  # over both shoulders
    assert {part.role for part in (sack, straps)} == {"chest"}


@pytest.mark.parametrize("kind", ON_HEAD)
def test_what_is_worn_on_the_head_is_there(kind: str) -> None:
    parts = build(kind, body(), "left", rng())
    assert {part.role for part in parts} == {"head"}
    low, high = points(parts).min(0), points(parts).max(0)
    assert 1.75 < high[1] < 1.85
    assert low[1] > 1.5
    assert low[0] < -0.08 < 0.08 < high[0]
    assert low[2] < 0.06 < high[2]


def test_a_cap_has_its_brim_before_the_face() -> None:
    _, brim = build("cap", body(), "left", rng(1))
    assert brim.mesh.positions[:, 2].max() > 0.17


@pytest.mark.parametrize("arm", ["T", "A"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", HELD)
def test_what_a_hand_carries_hangs_below_it(kind: str, side: Side, arm: str) -> None:
    who = body(arm)
    parts = build(kind, who, side, rng(3))
    assert {part.role for part in parts} == {f"{side}_hand"}
    hung = hanging(parts, who, side)
    wrist = who.at(f"{side}_upper_arm")[1] - sum(
        np.linalg.norm(who.at(f"{side}_{a}") - who.at(f"{side}_{b}"))
        for a, b in (("upper_arm", "lower_arm"), ("lower_arm", "hand"))
    )
    assert hung[:, 1].min() > -0.05  # above the ground
    assert hung[:, 1].mean() < wrist
    assert np.abs(hung[:, 0]).max() < 0.17 + 0.35


def test_a_suitcase_rolls_on_the_ground_behind() -> None:
    for seed in range(8):
        hung = hanging(build("suitcase", body(), "right", rng(seed)), body(), "right")
        assert -0.05 < hung[:, 1].min() < 0.06
        assert hung[hung[:, 1].argmin(), 2] < -0.25


@pytest.mark.parametrize("side", SIDES)
def test_bags_hang_on_their_side(side: Side) -> None:
    s = 1 if side == "left" else -1
    bag, _, strap = build("shoulder_bag", body(), side, rng())
    assert bag.role == "hips"
    assert 0.17 < s * bag.mesh.positions[:, 0].mean() < 0.32
    assert 0.7 < bag.mesh.positions[:, 1].mean() < 1.05
    top = strap.mesh.positions[strap.mesh.positions[:, 1].argmax()]
    assert s * top[0] < -0.05  # over the other shoulder
    sack, _ = build("tote", body(), side, rng())
    assert s * sack.mesh.positions[:, 0].mean() > 0.15


def test_a_coat_falls_from_an_arm_that_is_bent_forward() -> None:
    for arm in "TA":
        who = body(arm)
        coat = build("coat_over_arm", who, "left", rng())
        elbow, hand = who.at("left_lower_arm"), who.at("left_hand")
        turn = smallest_turn(hand - elbow, (-0.33, -0.1, 0.94))
        bent = (points(coat) - elbow) @ turn.T
        assert bent[:, 1].min() < -0.25
        assert bent[:, 1].max() < 0.1
        assert 0 < bent[:, 2].mean() < np.linalg.norm(hand - elbow)


def test_the_torso_is_as_deep_and_wide_as_measured() -> None:
    who = body()
    assert torso(who, 1.28, 0, 0)[2] == pytest.approx(0.16, abs=1e-6)
    assert torso(who, 1.28, np.pi, 0)[2] == pytest.approx(-0.08, abs=1e-6)
    assert torso(who, 0.95, np.pi / 2, 0.02)[0] == pytest.approx(0.185, abs=1e-6)


def test_an_unknown_accessory_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no accessory 'sword'; there are backpack, "):
        build("sword", body(), "left", rng())
