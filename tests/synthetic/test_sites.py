"""Each camera of a world is one of its own: where it hangs, how it images, what it looks at."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from synthetic.cameras import Camera, sample_camera
from synthetic.optics import sample_optics
from synthetic.renderer import SceneryPart
from synthetic.sites import Site, sample_site

HUMAN_M = 1.72


@pytest.fixture(scope="module")
def panoramas(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three surroundings of one colour each."""
    folder = tmp_path_factory.mktemp("panoramas")
    paths = []
    for number, colour in enumerate(((200, 180, 160), (120, 160, 120), (90, 90, 110))):
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.full((32, 64, 3), colour, np.uint8))
    return paths


@pytest.fixture(scope="module")
def sites(panoramas: list[Path]) -> list[Site]:
    """More cameras than a world has."""
    rng = np.random.default_rng(3)
    return [sample_site(rng, panoramas) for _ in range(14)]


def tilt(camera: Camera) -> float:
    """Degrees below the horizon."""
    down, away = camera.position[1] - camera.target[1], camera.position[2] - camera.target[2]
    return float(np.degrees(np.arctan2(down, away)))


def person_px(camera: Camera) -> float:
    """Height of somebody who stands in the middle."""
    feet, head = camera.project(np.array([[0.0, 0.0, 0.0], [0.0, HUMAN_M, 0.0]]))
    return float(feet[1] - head[1])


def test_cameras_hang_anywhere_and_see_people_40_to_400_pixels_high() -> None:
    rng = np.random.default_rng(0)
    cameras = [sample_camera(rng) for _ in range(500)]
    heights = [camera.position[1] for camera in cameras]
    assert min(heights) >= 1.4
    assert max(heights) <= 7
    assert np.ptp(heights) > 5
    tilts = [tilt(camera) for camera in cameras]
    assert min(tilts) < 5
    assert max(tilts) > 25
    views = [2 * np.degrees(np.arctan2(camera.width / 2, camera.focal_px)) for camera in cameras]
    assert min(views) < 20
    assert max(views) > 80
    people = [person_px(camera) for camera in cameras]
    assert 36 < min(people) < 60
    assert 350 < max(people) < 440
    assert len({camera.size for camera in cameras}) == 4


def test_every_camera_of_a_world_differs_from_the_others_in_everything(sites: list[Site]) -> None:
    def distinct(values: list[object]) -> bool:
        return len(set(values)) == len(sites)

    assert distinct([site.camera.position[1] for site in sites])
    assert distinct([tilt(site.camera) for site in sites])
    assert distinct([site.camera.focal_px for site in sites])
    assert distinct([person_px(site.camera) for site in sites])
    assert distinct([site.light.exposure for site in sites])
    assert distinct([site.light.harmonics.tobytes() for site in sites])
    for constant in ("exposure", "white_balance", "contrast", "saturation", "read_noise", "shot_noise"):
        assert distinct([getattr(site.optics, constant) for site in sites]), constant
    assert len({site.optics.quality for site in sites}) > 2
    assert distinct([site.surfaces.tobytes() for site in sites])


def test_some_cameras_blur_and_more_sharpen() -> None:
    rng = np.random.default_rng(1)
    cameras = [sample_optics(rng) for _ in range(300)]
    assert 15 < sum(optics.blur_px > 0 for optics in cameras) < 70
    assert 130 < sum(optics.sharpening > 0 for optics in cameras) < 230


def test_now_and_then_something_stands_between_camera_and_people(sites: list[Site]) -> None:
    assert 1 <= sum(any(stands_before(part, site.camera) for part in site.parts) for site in sites) < 12


def stands_before(part: SceneryPart, camera: Camera) -> bool:
    """Whether a thing of the place may hide part of somebody in its middle."""
    low, high = part.mesh.positions.min(0), part.mesh.positions.max(0)
    x, _, z = (low + high) / 2
    return bool(high[0] - low[0] < 4 and high[1] > 0.3 and abs(x) < 1.5 and 1 < z < camera.position[2])
