"""Frames with boxes for detector training, in the layout that YOLO trainers read.

`images/train`, `images/val`, `labels/train`, `labels/val`, `data.yaml`; a label file has a line
`0 cx cy w h` (shares of the picture) for each person. As in COCO a box holds what can be seen of a person.
Who is hidden by three quarters or more, or is smaller than some pixels, is in the picture without a box.

Frames come in shards of eight sites with people of their own; the last shards are for validation, so that it
is of other sites. A shard depends on the seed and its number alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.hooks import Hooks
from synthetic.assets import panoramas, read_cards
from synthetic.cameras import sample_surveying_camera
from synthetic.dressing import Wardrobe
from synthetic.figures import Path as Way
from synthetic.figures import poses
from synthetic.filming import Film
from synthetic.optics import develop
from synthetic.people import Person, population
from synthetic.renderer import Figure, PersonModel, Renderer
from synthetic.routes import Grounds, survey
from synthetic.shards import Rendered, claim_folder, render_shards, write_jpeg
from synthetic.sightings import Sighting, sight
from synthetic.sites import Site, sample_site

LEAST_VISIBLE = 0.25  # of a person, for a box
SMALLEST_PX = 10  # height of a box
_SHARD_SITES, _SITE_FRAMES = 8, 5
_SHARD_FRAMES = _SHARD_SITES * _SITE_FRAMES
_SHARD_PEOPLE = 24
_TALLEST, _SHORTEST = 400.0, 20.0  # people, in pixels
_TOGETHER = 0.35  # share of people who stand close to another one
_SHADOW_SIZE = 2048

Image = NDArray[np.uint8]
Member = tuple[Person, PersonModel]


@dataclass(frozen=True)
class FramePlan:
    """What to render.

    Attributes:
        frames: Pictures.
        fewest: People placed in a picture, at least.
        most: At most, up to 24.
        sizes: (width, height) of pictures, drawn evenly; even numbers.
        seed: Of everything.
        val_share: Share of the pictures for validation, in [0, 1).
        quality: Of the JPEG files.
    """

    frames: int
    fewest: int = 0
    most: int = 15
    sizes: tuple[tuple[int, int], ...] = ((640, 480), (960, 540), (1280, 720))
    seed: int = 0
    val_share: float = 0.1
    quality: int = 92

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError("a data set needs a frame at least")
        if not 0 <= self.fewest <= self.most <= _SHARD_PEOPLE:
            raise ValueError(f"people a frame must be 0 to {_SHARD_PEOPLE}, not {self.fewest} to {self.most}")
        if not self.sizes or any(side % 2 or side < 64 for size in self.sizes for side in size):
            raise ValueError(f"pictures need even sides from 64 pixels, not {self.sizes}")
        if not 0 <= self.val_share < 1:
            raise ValueError(f"val_share must lie in [0, 1), not {self.val_share}")

    @property
    def shard_frames(self) -> list[int]:
        """Pictures of each shard."""
        size = min(_SHARD_FRAMES, -(-self.frames // 2))  # two at least: one is for validation
        return [min(size, self.frames - first) for first in range(0, self.frames, size)]

    def split(self, shard: int) -> str:
        """Whether a shard is for "train" or "val"."""
        shards = len(self.shard_frames)
        held_out = min(shards - 1, max(1, round(self.val_share * shards)))
        return "val" if self.val_share and shard >= shards - held_out else "train"


def write_frames(
    assets: Path,
    folder: Path,
    plan: FramePlan,
    hooks: Hooks,
    *,
    workers: int | None = None,
    minutes: float | None = None,
) -> Rendered:
    """Render a data set; shards that are there already are left as they are.

    Args:
        assets: The people pack.
        folder: Takes `images/`, `labels/`, `data.yaml` and `plan.json`.
        plan: What to render.
        hooks: Told of progress.
        workers: Processes; None: one a core.
        minutes: Begin no more shards after so long; None: render all.

    Returns:
        How far it came.

    Raises:
        ValueError: the folder holds frames of another plan.
        FileNotFoundError: there is no people pack.
    """
    read_cards(assets)
    claim_folder(folder, asdict(plan), assets, "frames")
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames:\n  0: person\n")
    return render_shards(
        partial(_write_shard, assets, folder, plan), folder, plan.shard_frames, "frames", hooks,
        workers=workers, minutes=minutes,
    )  # fmt: skip


def _write_shard(assets: Path, folder: Path, plan: FramePlan, shard: int) -> None:
    """Render the frames of a shard."""
    split = plan.split(shard)
    with Renderer(_SHADOW_SIZE) as renderer:
        for number, (image, boxes) in enumerate(_render_shard(renderer, assets, plan, shard)):
            name = f"{shard:05d}_{number:03d}"
            write_jpeg(folder / "images" / split / f"{name}.jpg", image, plan.quality)
            (folder / "labels" / split / f"{name}.txt").write_text(_label(boxes, image.shape[1::-1]))


def _render_shard(
    renderer: Renderer, assets: Path, plan: FramePlan, shard: int
) -> Iterator[tuple[Image, list[Sighting]]]:
    """Pictures of a shard, each with the people who get a box."""
    rng = np.random.default_rng([plan.seed, shard])
    cards, surroundings = read_cards(assets), panoramas(assets)
    wardrobe = Wardrobe(renderer, cards)
    people = population(cards, min(_SHARD_PEOPLE, 2 * plan.most + 1), rng)
    crowd = [(person, wardrobe.dress(person)) for person in people]
    left = plan.shard_frames[shard]
    try:
        while left:
            width, height = plan.sizes[int(rng.integers(len(plan.sizes)))]
            site = sample_site(rng, surroundings, sample_surveying_camera(rng, width, height))
            frames = min(left, _SITE_FRAMES)
            yield from _render_site(renderer, site, crowd, plan, frames, rng)
            left -= frames
    finally:
        for _, model in crowd:
            model.release()


def _render_site(
    renderer: Renderer,
    site: Site,
    crowd: Sequence[Member],
    plan: FramePlan,
    num_frames: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Image, list[Sighting]]]:
    grounds = survey(site, reach=30.0, cell=0.25)
    scenery = site.build(renderer)
    try:
        film = Film(renderer, site, scenery)
        for _ in range(num_frames):
            wanted = int(rng.integers(plan.fewest, plan.most + 1))
            figures = _figures(site, grounds, crowd, wanted, rng)
            image = develop(film.frame(figures), site.optics, rng)
            found = sight(renderer, site.camera, scenery, figures)
            yield image, [one for one in found if one is not None and _gets_box(one)]
    finally:
        scenery.release()


def _gets_box(found: Sighting) -> bool:
    return found.visibility >= LEAST_VISIBLE and found.seen[3] - found.seen[1] >= SMALLEST_PX


def _figures(
    site: Site, grounds: Grounds, crowd: Sequence[Member], wanted: int, rng: np.random.Generator
) -> list[Figure]:
    """People on free ground, the nearest first."""
    places = _places(site, grounds, wanted, rng)
    away = np.linalg.norm(places - np.asarray(site.camera.position)[[0, 2]], axis=1)
    figures = []
    members = rng.permutation(len(crowd))[: len(places)].tolist()
    for place, at in zip(places[np.argsort(away)], members, strict=True):
        person, model = crowd[at]
        way = Way(place[None], rng.uniform(0, 2 * np.pi, 1))
        times = rng.uniform(0, 20, 1)
        figures.append(Figure(model, poses(person, model.character, person.bearing(rng), way, times)[0]))
    return figures


def _places(site: Site, grounds: Grounds, wanted: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, 2) up to `wanted` places such that small and tall people are about equally many."""
    free = grounds.places(grounds.free & grounds.seen)
    matrix, camera = site.camera.world_to_camera, site.camera
    depths = free @ matrix[2, [0, 2]] + matrix[2, 1] + matrix[2, 3]
    talls = camera.focal_px * 1.72 / depths
    chosen: list[NDArray[np.float64]] = []
    for _ in range(8 * wanted):
        if len(chosen) == wanted or not len(free):
            break
        if chosen and rng.random() < _TOGETHER:
            place = chosen[int(rng.integers(len(chosen)))] + rng.normal(0, 0.7, 2)
        else:
            goal = np.exp(rng.uniform(np.log(_SHORTEST), np.log(min(_TALLEST, 0.9 * camera.height))))
            near = np.flatnonzero(np.abs(np.log(talls / goal)) < 0.15)
            if not len(near):
                continue
            place = free[near[int(rng.integers(len(near)))]] + rng.uniform(-0.5, 0.5, 2) * grounds.cell
        apart = all(np.linalg.norm(place - other) > 0.45 for other in chosen)
        if apart and grounds.all_free(place[None]):
            chosen.append(place)
    return np.array(chosen).reshape(-1, 2)


def _label(boxes: Sequence[Sighting], size: Sequence[int]) -> str:
    lines = []
    for found in boxes:
        left, top, right, bottom = found.seen / np.array([*size, *size])
        lines.append(
            f"0 {(left + right) / 2:.6f} {(top + bottom) / 2:.6f} {right - left:.6f} {bottom - top:.6f}\n"
        )
    return "".join(lines)
