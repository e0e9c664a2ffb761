"""What a camera does to a clean picture, each part in the direction it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthetic.optics import Optics, develop, sample_optics, statistics


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """Coloured blocks of 16 pixels with a little grain."""
    blocks = rng(7).integers(60, 200, (16, 8, 3)).repeat(16, 0).repeat(16, 1)
    return (blocks + rng(8).integers(-6, 7, blocks.shape)).astype(np.uint8)


def chroma(image: np.ndarray) -> float:
    return float(np.ptp(image.astype(int), axis=2).mean())


def test_a_perfect_camera_leaves_a_picture_as_it_is(crop: np.ndarray) -> None:
    dim = (crop * 0.7).astype(np.uint8)  # above 0.7 of the light, highlights roll off
    before = dim.copy()
    developed = develop(dim, Optics(), rng())
    assert developed.dtype == np.uint8
    assert np.abs(developed.astype(int) - dim).max() <= 1
    np.testing.assert_array_equal(dim, before)


def test_saturation_scales_colour_and_keeps_luma(crop: np.ndarray) -> None:
    half = develop(crop, Optics(saturation=0.5), rng())
    assert chroma(half) == pytest.approx(0.5 * chroma(crop), rel=0.03)
    assert statistics(half).brightness == pytest.approx(statistics(crop).brightness, abs=1)
    grey = develop(crop, Optics(saturation=0), rng())
    assert chroma(grey) <= 1


def test_each_constant_moves_its_statistic(crop: np.ndarray) -> None:
    plain = statistics(develop(crop, Optics(), rng()))

    def of(**constants: object) -> object:
        return statistics(develop(crop, replace(Optics(), **constants), rng()))  # type: ignore[arg-type]

    assert of(exposure=0.5).brightness > plain.brightness + 10  # type: ignore[attr-defined]
    assert of(exposure=-0.5).brightness < plain.brightness - 10  # type: ignore[attr-defined]
    assert of(contrast=0.6).contrast > 1.2 * plain.contrast  # type: ignore[attr-defined]
    assert of(contrast=-0.3).contrast < plain.contrast  # type: ignore[attr-defined]
    assert of(black_level=0.2).contrast < 0.85 * plain.contrast  # type: ignore[attr-defined]
    assert of(blur_px=2).sharpness < 0.6 * plain.sharpness  # type: ignore[attr-defined]
    assert of(sharpening=1.5).sharpness > 1.4 * plain.sharpness  # type: ignore[attr-defined]
    assert of(read_noise=0.02).sharpness > plain.sharpness  # type: ignore[attr-defined]
    assert of(ghost=0.4, ghost_px=5).contrast < plain.contrast  # type: ignore[attr-defined]


def test_white_balance_vignette_and_rows(crop: np.ndarray) -> None:
    flat = np.full((64, 64, 3), 120, np.uint8)
    warm = develop(flat, Optics(white_balance=(1.2, 1.0, 0.8)), rng())[32, 32].astype(int)
    assert warm[0] > warm[1] > warm[2]
    dark = develop(flat, Optics(vignetting=0.5), rng())
    assert dark[32, 32, 0] == pytest.approx(120, abs=1)
    assert (dark[0, 0, 0] / 120) ** 2.2 == pytest.approx(0.5, abs=0.03)
    combed = develop(crop, Optics(interlace_px=3), rng())
    clean = develop(crop, Optics(), rng())
    np.testing.assert_array_equal(combed[::2], clean[::2])
    np.testing.assert_array_equal(combed[1::2, 3:], clean[1::2, :-3])


@pytest.mark.parametrize(("shot", "read"), [(0.05, 0.0), (0.0, 0.01)])
def test_noise_has_the_deviation_it_says(shot: float, read: float) -> None:
    light = 0.3
    value = round(255 * light ** (1 / 2.2))
    flat = np.full((256, 128, 3), value, np.uint8)
    noisy = develop(flat, Optics(read_noise=read, shot_noise=shot), rng())
    linear = (noisy[..., 0] / 255) ** 2.2
    assert linear.mean() == pytest.approx(light, rel=0.03)
    assert linear.std() == pytest.approx(np.hypot(read, shot * np.sqrt(light)), rel=0.12)
    assert chroma(noisy) <= 1


@pytest.mark.parametrize("shape", [(256, 128), (31, 17), (720, 1280), (600, 100)])
def test_any_size_twice_the_same(shape: tuple[int, int]) -> None:
    image = rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    optics = sample_optics(rng(2))
    first, again = (develop(image, optics, rng(3)) for _ in range(2))
    assert first.shape == image.shape
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, develop(image, optics, rng(4)))


def test_cameras_are_mostly_less_colourful_and_a_few_grey() -> None:
    cameras = [sample_optics(rng(seed)) for seed in range(2000)]
    assert sample_optics(rng(5)) == sample_optics(rng(5))
    saturation = np.array([camera.saturation for camera in cameras])
    assert 0.35 < np.median(saturation) < 0.75
    assert 0.01 < (saturation == 0).mean() < 0.035
    assert np.mean([camera.blur_px > 0 for camera in cameras]) < 0.2
    assert np.mean([camera.sharpening > 0 for camera in cameras]) > 0.5
    assert np.median([camera.contrast for camera in cameras]) > 0.2


def test_strong_compression_loses_detail(crop: np.ndarray) -> None:
    errors = [
        np.abs(
            develop(crop, Optics(quality=quality), rng()).astype(int) - develop(crop, Optics(), rng())
        ).mean()
        for quality in (95, 60, 20)
    ]
    assert errors == sorted(errors)


def test_statistics_by_hand() -> None:
    stripes = np.zeros((64, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    measured = statistics(stripes)
    assert measured.brightness == 100
    assert measured.contrast == 100
    assert measured.saturation == 0
    assert measured.sharpness == 400  # every pixel differs by 200 from both neighbours
    red = np.full((64, 32, 3), (200, 100, 100), np.uint8)
    assert statistics(red).saturation == pytest.approx(127.5, abs=1)
    assert statistics(np.kron(stripes, np.ones((4, 4, 1), np.uint8))).sharpness < 400  # shrunk to 128 rows


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"contrast": 1.0}, "contrast must lie"),
        ({"quality": 0}, "quality must lie"),
        ({"white_balance": (1.0, 0.0, 1.0)}, "gains must be above 0"),
    ],
)
def test_impossible_cameras(constants: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Optics(**constants)  # type: ignore[arg-type]


def test_only_pictures_are_developed() -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="a picture must be"):
            develop(wrong, Optics(), rng())  # type: ignore[arg-type]
