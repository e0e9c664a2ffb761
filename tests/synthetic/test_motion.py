import numpy as np
import pytest

from synthetic.motion import ROLES, Bearing, sample_gait, skin_matrices, walking_speed

REST = np.zeros((len(ROLES), 3), np.float32)
for _role, _place in {
    "hips": (0, 0.95, 0),
    "spine": (0, 1.05, 0),
    "chest": (0, 1.25, 0),
    "neck": (0, 1.48, 0),
    "head": (0, 1.55, 0),
}.items():
    REST[ROLES.index(_role)] = _place
for _side, _sign in (("left", 1), ("right", -1)):
    for _limb, _place in {
        "shoulder": (0.08, 1.42, 0),
        "upper_arm": (0.18, 1.42, 0),
        "lower_arm": (0.46, 1.42, 0),
        "hand": (0.72, 1.42, 0),
        "upper_leg": (0.1, 0.9, 0),
        "lower_leg": (0.1, 0.48, 0),
        "foot": (0.1, 0.08, 0),
    }.items():
        REST[ROLES.index(f"{_side}_{_limb}")] = np.multiply(_place, (_sign, 1, 1))
TIMES = np.linspace(0, 2.2, 45)


def _places(matrices: np.ndarray, role: str) -> np.ndarray:  # type: ignore[type-arg]
    index = ROLES.index(role)
    return matrices[:, index, :, :3] @ REST[index] + matrices[:, index, :, 3]


@pytest.mark.parametrize("activity", ["walk", "stand", "turn"])
@pytest.mark.parametrize("arm", ["swing", "hang", "carry", "phone", "pocket", "bent"])
def test_poses_are_rigid_and_stand_on_the_ground(activity: str, arm: str) -> None:
    gait = sample_gait(np.random.default_rng(3))
    bearing = Bearing(activity, arm, arm, 0.2, 8.0)  # type: ignore[arg-type]
    matrices = skin_matrices(REST, gait, bearing, TIMES)
    turns = matrices[..., :3].astype(np.float64)
    np.testing.assert_allclose(
        turns @ turns.swapaxes(-1, -2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-5)
    # Limbs stay as long as they are, and one foot or the other is on the ground.
    for side in ("left", "right"):
        for upper, lower in (("upper_leg", "lower_leg"), ("lower_leg", "foot"), ("upper_arm", "lower_arm")):
            span = np.linalg.norm(
                _places(matrices, f"{side}_{upper}") - _places(matrices, f"{side}_{lower}"), axis=1
            )
            rest = np.linalg.norm(REST[ROLES.index(f"{side}_{upper}")] - REST[ROLES.index(f"{side}_{lower}")])
            np.testing.assert_allclose(span, rest, atol=1e-4)
    feet = np.stack([_places(matrices, f"{side}_foot")[:, 1] for side in ("left", "right")])
    assert (feet.min(0) > 0.03).all()
    assert (feet.min(0) < 0.17).all()


def test_walking_moves_the_legs_in_turn_and_standing_does_not() -> None:
    gait = sample_gait(np.random.default_rng(0))
    walk = skin_matrices(REST, gait, Bearing("walk", "swing", "swing", 0, 0), TIMES)
    stand = skin_matrices(REST, gait, Bearing("stand", "hang", "hang", 0, 0), TIMES)
    left, right = (_places(walk, f"{side}_foot")[:, 2] for side in ("left", "right"))
    assert np.ptp(left) > 0.4
    assert np.corrcoef(left, right)[0, 1] < -0.7
    assert np.ptp(_places(stand, "left_foot")[:, 2]) < 0.05
    # Arms swing against the legs of their side.
    hand = _places(walk, "left_hand")[:, 2]
    assert np.corrcoef(hand, left)[0, 1] < 0


def test_arms_hang_down_from_a_t_pose_and_hold_a_phone_at_the_head() -> None:
    gait = sample_gait(np.random.default_rng(1))
    matrices = skin_matrices(REST, gait, Bearing("stand", "hang", "phone", 0, 0), TIMES[:3])
    assert (_places(matrices, "left_hand")[:, 1] < 1.0).all()
    assert (_places(matrices, "right_hand")[:, 1] > 1.3).all()


def test_people_have_their_own_walk_at_walking_speeds() -> None:
    rng = np.random.default_rng(2)
    gaits = [sample_gait(rng) for _ in range(200)]
    speeds = [walking_speed(gait, 1.75) for gait in gaits]
    assert 0.6 < min(speeds) < 1.0 < max(speeds) < 1.8
    assert len(set(gaits)) == 200
