from itertools import pairwise

import numpy as np
import pytest

from synthetic.cameras import Camera
from synthetic.journeys import Place, around_building, plan_visits
from synthetic.mesh import box
from synthetic.optics import Optics
from synthetic.renderer import Light, SceneryPart
from synthetic.routes import Grounds, sample_walk, survey
from synthetic.sites import Site

CAMERA = Camera((0.0, 3.0, 9.0), (0.0, 1.0, 0.0), 500.0, 480, 270)
DARK = Light(np.zeros((9, 3), np.float32), np.array([0, 1, 0], np.float32), np.zeros(3, np.float32), 1.0)
WHITE = np.full(3, 255, np.uint8)


def site(*parts: SceneryPart) -> Site:
    """A bare place with these things before the usual camera."""
    surfaces, sky = np.zeros((1, 512, 512, 4), np.uint8), np.zeros((2, 4, 3), np.uint8)
    return Site(CAMERA, Optics(), DARK, parts, surfaces, sky, 0.0, (0.0, 0.0, 0.0, 0.0))


def block(size: tuple[float, float, float], place: tuple[float, float, float]) -> SceneryPart:
    return SceneryPart(box(size, place), 0, WHITE)


PLAIN = block((60, 0.1, 60), (0, -0.05, 0))  # the ground
WALL = block((12, 3.2, 0.3), (0, 1.6, -3))
BENCH = block((2, 0.8, 0.6), (1, 0.4, 0))


@pytest.fixture(scope="module")
def grounds() -> Grounds:
    return survey(site(PLAIN, WALL, BENCH))


def at(x: float, z: float) -> np.ndarray:
    return np.array([[x, z]])


def test_things_take_room_and_walls_hide(grounds: Grounds) -> None:
    assert grounds.all_free(at(0, 2))
    assert not grounds.all_free(at(1, 0)), "a bench"
    assert not grounds.all_free(at(1, 0.6)), "as near as shoulders reach"
    assert not grounds.all_free(at(0, -3)), "a wall"
    assert not grounds.all_free(at(0, 8.5)), "the camera"
    seen = [bool(grounds.are_seen(at(*place))[0]) for place in ((0, 2), (1, -1), (0, -5), (9, 0))]
    assert seen == [True, True, False, False], "behind a bench, not behind a wall or beside the picture"


def test_doors_are_out_of_sight_and_a_step_from_it(grounds: Grounds) -> None:
    assert len(grounds.doors) > 50
    assert not grounds.are_seen(grounds.doors).any()
    pixels = CAMERA.project(
        np.stack([grounds.doors[:, 0], np.full(len(grounds.doors), 1.0), grounds.doors[:, 1]], 1)
    )
    inside = ((pixels > 0) & (pixels < [480, 270])).all(1)
    assert (grounds.doors[inside, 1] < -3).all(), "in the picture only behind the wall"


def test_a_walk_comes_from_out_of_sight_crosses_and_leaves(grounds: Grounds) -> None:
    rng = np.random.default_rng(1)
    found = [sample_walk(grounds, 1.3, rng, pause) for pause in (0.0, 2.0) for _ in range(60)]
    walks = [walk for walk in found if walk is not None]
    assert len(walks) > 10
    for walk in walks:
        seen = grounds.are_seen(walk.path.places)
        assert seen.any()
        assert not seen[[0, -1]].any()
        speeds = np.linalg.norm(np.gradient(walk.path.places, walk.times, axis=0), axis=1)
        assert speeds.max() < 1.4
        assert np.abs(np.gradient(walk.path.headings, walk.times)).max() < 6, "nobody whirls around"
        assert np.diff(walk.gait_times).min() >= 0
        # Feet step as far as the body moves.
        length = np.linalg.norm(np.diff(walk.path.places, axis=0), axis=1).sum()
        assert np.ptp(walk.gait_times) * 1.3 == pytest.approx(length, rel=0.02)
        later = walk.at(walk.times[10:20])
        np.testing.assert_allclose(later.path.places, walk.path.places[10:20])
    assert min(walk.pace.min() for walk in walks) < 0.05, "some stand for a while"


def test_where_nobody_fits_there_is_no_walk() -> None:
    full = survey(site(PLAIN, block((30, 1, 30), (0, 0.5, 0))))
    assert sample_walk(full, 1.3, np.random.default_rng(0)) is None


def test_people_visit_two_sites_without_meeting(grounds: Grounds) -> None:
    places = [Place(grounds, *place) for place in around_building([9.0, 9.0, 9.0])]
    visits = plan_visits(places, [1.1, 1.2, 1.3, 1.4, 1.25], 30.0, np.random.default_rng(2))
    for person in range(5):
        own = sorted((v for v in visits if v.person == person), key=lambda v: float(v.walk.times[0]))
        assert len({v.camera for v in own}) >= 2
        for before, after in pairwise(own):
            gone = places[before.camera].in_world(before.walk.path.places[-1:])
            come = places[after.camera].in_world(after.walk.path.places[:1])
            way, pause = np.linalg.norm(come - gone), after.walk.times[0] - before.walk.times[-1]
            assert way / 2.2 < pause + 3 < 40, "as long as the way between takes"
    for one in visits:
        for other in visits:
            if one is other or one.camera != other.camera:
                continue
            times = np.arange(
                max(one.walk.times[0], other.walk.times[0]),
                min(one.walk.times[-1], other.walk.times[-1]),
                0.1,
            )
            gaps = np.linalg.norm(one.walk.at(times).path.places - other.walk.at(times).path.places, axis=1)
            assert (gaps > 0.4).all()


def test_too_many_people_are_refused(grounds: Grounds) -> None:
    places = [Place(grounds, *place) for place in around_building([9.0, 9.0])]
    with pytest.raises(ValueError, match="take fewer people"):
        plan_visits(places, [1.3] * 3, 6.0, np.random.default_rng(0))


def test_a_site_in_the_world_keeps_its_camera_over_it() -> None:
    ((origin, heading), (other, _)) = around_building([9.0, 8.0])
    placed = CAMERA.placed(origin, heading)
    place = Place(survey(site(PLAIN), 3.0, 0.5), origin, heading)
    local = np.array([[0.7, -1.2]])
    ((x, z),) = place.in_world(local)
    np.testing.assert_allclose(
        placed.project(np.array([[x, 0.0, z]])), CAMERA.project(np.array([[0.7, 0.0, -1.2]])), atol=1e-6
    )
    assert np.linalg.norm(np.subtract(origin, other)) > 5
