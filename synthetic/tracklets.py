"""Labelled tracklets in the layout of MARS: `bbox_train/0001/0001C1T0001F001.jpg`.

The people are cut into shards, each with a world of its own: a few camera sites through which everybody of
the shard walks. A shard depends on the seed and its number alone, so that any number of processes give the
same files.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.hooks import Hooks
from synthetic.assets import CharacterCard, panoramas, read_cards
from synthetic.dressing import Wardrobe
from synthetic.figures import Box, box_of, outline, poses, straight_path
from synthetic.motion import walking_speed
from synthetic.optics import develop
from synthetic.people import Person, population
from synthetic.renderer import Figure, PersonModel, Renderer, SceneryModel
from synthetic.shards import Rendered, claim_folder, render_shards, write_jpeg
from synthetic.sightings import visible_share
from synthetic.sites import Site, sample_site

CROP_WIDTH, CROP_HEIGHT = 128, 256
_TALLEST = 288  # a crop is stored 256 pixels high, so a closer view is drawn no larger than this
_SHARD_PEOPLE = 40
LEAST_VISIBLE = 0.25  # of the person, half-way
_TRIES = 12  # walks drawn until that much shows
_CROWD = 6  # people of the shard who may walk beside or before the one of the tracklet

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class TrackletPlan:
    """What to render.

    Attributes:
        people: Identities.
        cameras: Camera sites of each world, at least 2.
        seen_by: Cameras that see each person, 2 to `cameras`.
        frames: Crops a tracklet, at least 1.
        seed: Of everything.
        test_share: Share of the pack's base people whose identities go to `bbox_test`, in [0, 1).
        quality: Of the JPEG files.
    """

    people: int
    cameras: int = 6
    seen_by: int = 4
    frames: int = 8
    seed: int = 0
    test_share: float = 0.0
    quality: int = 92

    def __post_init__(self) -> None:
        if not 2 <= self.seen_by <= self.cameras:
            raise ValueError(f"each person must be seen by 2 to {self.cameras} cameras, not {self.seen_by}")
        if self.people < 1 or self.frames < 1:
            raise ValueError("tracklets need at least one person and one frame")
        if self.cameras > 9:
            raise ValueError(f"{self.cameras} cameras: the layout of MARS has one digit for them")

    @property
    def num_crops(self) -> int:
        """Pictures in all."""
        return self.people * self.seen_by * self.frames

    @property
    def shard_crops(self) -> list[int]:
        """Pictures of each shard."""
        firsts = range(0, self.people, _SHARD_PEOPLE)
        return [min(_SHARD_PEOPLE, self.people - first) * self.seen_by * self.frames for first in firsts]


def write_tracklets(
    assets: Path,
    folder: Path,
    plan: TrackletPlan,
    hooks: Hooks,
    *,
    workers: int | None = None,
    minutes: float | None = None,
) -> Rendered:
    """Render a data set; shards that are there already are left as they are.

    Args:
        assets: The people pack.
        folder: Takes `bbox_train/`, `bbox_test/`, `people.csv` and `plan.json`.
        plan: What to render.
        hooks: Told of progress.
        workers: Processes; None: one a core.
        minutes: Begin no more shards after so long; None: render all.

    Returns:
        How far it came.

    Raises:
        ValueError: the folder holds a data set of another plan.
        FileNotFoundError: there is no people pack.
    """
    cards = read_cards(assets)
    people = population(cards, plan.people, np.random.default_rng([plan.seed, 0]))
    tested = _tested_bases(cards, plan)
    claim_folder(folder, asdict(plan), assets, "tracklets")
    _write_people(folder / "people.csv", cards, people, tested)
    return render_shards(
        partial(_write_shard, assets, folder, plan), folder, plan.shard_crops, "crops", hooks,
        workers=workers, minutes=minutes,
    )  # fmt: skip


def _tested_bases(cards: Sequence[CharacterCard], plan: TrackletPlan) -> set[str]:
    bases = sorted({card.base for card in cards})
    order = np.random.default_rng([plan.seed, 1]).permutation(len(bases))
    return {bases[i] for i in order[: round(plan.test_share * len(bases))].tolist()}


def _write_people(
    path: Path, cards: Sequence[CharacterCard], people: Sequence[Person], tested: set[str]
) -> None:
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["pid", "split", "character", "base", "sex", "twin_of", "accessories"])
        for person in people:
            card = cards[person.character]
            split = "test" if card.base in tested else "train"
            things = " ".join(thing.kind for thing in person.accessories)
            rows.writerow(
                [person.number, split, card.path.name, card.base, card.sex, person.twin_of or "", things]
            )
    part.replace(path)


def _write_shard(assets: Path, folder: Path, plan: TrackletPlan, shard: int) -> None:
    """Render the people of a shard."""
    first = shard * _SHARD_PEOPLE
    cards = read_cards(assets)
    people = population(cards, plan.people, np.random.default_rng([plan.seed, 0]))[
        first : first + _SHARD_PEOPLE
    ]
    tested = _tested_bases(cards, plan)
    with Renderer() as renderer:
        for tracklet in render_shard(
            renderer, assets, cards, people, plan, np.random.default_rng([plan.seed, 2, shard])
        ):
            person = people[tracklet.person]
            split = "bbox_test" if cards[person.character].base in tested else "bbox_train"
            place = folder / split / f"{person.number:04d}"
            place.mkdir(parents=True, exist_ok=True)
            for number, crop in enumerate(tracklet.crops, start=1):
                name = f"{person.number:04d}C{tracklet.camera}T{tracklet.number:04d}F{number:03d}.jpg"
                write_jpeg(place / name, crop, plan.quality)


@dataclass(frozen=True)
class RenderedTracklet:
    """Crops (256, 128, 3) uint8 RGB of one person of a shard (its index there) in one camera (from 1)."""

    person: int
    camera: int
    number: int
    crops: list[Image]


def render_shard(
    renderer: Renderer,
    assets: Path,
    cards: Sequence[CharacterCard],
    people: Sequence[Person],
    plan: TrackletPlan,
    rng: np.random.Generator,
) -> Iterator[RenderedTracklet]:
    """Everybody of a shard in the cameras that see them."""
    wardrobe = Wardrobe(renderer, cards)
    surroundings = panoramas(assets)
    sites = [sample_site(rng, surroundings) for _ in range(plan.cameras)]
    built = [site.build(renderer) for site in sites]
    crowd: deque[tuple[Person, PersonModel]] = deque()
    try:
        for index, person in enumerate(people):
            crowd.append((person, wardrobe.dress(person)))
            if len(crowd) > _CROWD:
                crowd.popleft()[1].release()
            cameras = rng.permutation(plan.cameras)[: plan.seen_by]
            for camera in np.sort(cameras).tolist():
                crops = render_tracklet(renderer, sites[camera], built[camera], list(crowd), plan.frames, rng)
                yield RenderedTracklet(index, camera + 1, 1, crops)
    finally:
        for scenery in built:
            scenery.release()
        for _, model in crowd:
            model.release()


def render_tracklet(
    renderer: Renderer,
    site: Site,
    scenery: SceneryModel,
    crowd: Sequence[tuple[Person, PersonModel]],
    num_frames: int,
    rng: np.random.Generator,
) -> list[Image]:
    """Crops of the last person of a crowd in one camera; the others may pass by.

    Somebody whom things or others hide nearly all of, half-way, walks elsewhere: no detector would make a
    tracklet of that.
    """
    times = np.arange(num_frames) * rng.uniform(0.1, 0.34) + rng.uniform(0, 0.05, num_frames)
    for _ in range(_TRIES):
        figures = _walkers(site, crowd, times, rng)  # per frame, the one of the tracklet first
        if visible_share(renderer, site.camera, scenery, figures[num_frames // 2]) >= LEAST_VISIBLE:
            break
    vertices = outline(crowd[-1][1].character)
    crops = []
    for frame in figures:
        box = box_of(site.camera, frame[0], vertices)
        assert box is not None, "a site's people stand before its camera"
        box = _detected(box, site.box_margin, rng)
        scale = min(1.0, _TALLEST / (box[3] - box[1]))
        size = (max(8, round((box[2] - box[0]) * scale)), max(16, round((box[3] - box[1]) * scale)))
        centre = np.add(frame[0].pose[0, :, 3], (0.0, 0.4, 0.0), dtype=np.float64)
        sun = renderer.cast_shadows(site.light, scenery, frame, centre, 2.6)
        picture = renderer.draw(site.camera.view(box, size), site.light, scenery, frame, sun)
        picture = develop(picture, site.optics, rng)
        shrinking = picture.shape[0] > CROP_HEIGHT
        method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        crops.append(
            np.asarray(cv2.resize(picture, (CROP_WIDTH, CROP_HEIGHT), interpolation=method), np.uint8)
        )
    return crops


def _walkers(
    site: Site,
    crowd: Sequence[tuple[Person, PersonModel]],
    times: NDArray[np.float64],
    rng: np.random.Generator,
) -> list[list[Figure]]:
    person, model = crowd[-1]
    middle = (rng.normal(0, 1.0), float(np.clip(rng.normal(0, 1.0), -1.4, 0.2 * site.camera.position[2])))
    heading = rng.uniform(0, 2 * np.pi)
    bearing = person.bearing(rng)
    speed = walking_speed(person.gait, model.character.height * person.scale)
    bend = rng.normal(0, 0.12)
    if bearing.activity != "walk":
        speed, bend = (
            0.0,
            (rng.choice([-1, 1]) * rng.uniform(0.5, 1.6) if bearing.activity == "turn" else 0.0),
        )
    path = straight_path(middle, heading, speed, times, bend)
    tracks = [(model, poses(person, model.character, bearing, path, times))]
    others = int(rng.choice(4, p=[0.62, 0.22, 0.1, 0.06]))
    for at in rng.permutation(len(crowd) - 1)[:others].tolist():
        other, body = crowd[at]
        role = rng.random()
        if role < 0.45:  # along with the person, a step aside
            aside = rng.choice([-1, 1]) * rng.uniform(0.45, 1.1)
            spot = (middle[0] + aside * np.cos(heading), middle[1] - aside * np.sin(heading))
            way, pace = heading + rng.normal(0, 0.05), speed
        else:  # across, mostly behind, at times in front
            nearer = rng.uniform(0.5, 1.8) if role > 0.9 else -rng.uniform(0.6, 6)
            spot = (middle[0] + rng.normal(0, 0.8), middle[1] + nearer)
            way, pace = (
                rng.uniform(0, 2 * np.pi),
                walking_speed(other.gait, body.character.height * other.scale),
            )
        walk = straight_path(spot, way, pace, times)
        tracks.append((body, poses(other, body.character, other.bearing(rng), walk, times)))
    return [[Figure(body, pose[k]) for body, pose in tracks] for k in range(len(times))]


def _detected(box: Box, margin: Sequence[float], rng: np.random.Generator) -> Box:
    """A box as a detector would draw it: with the camera's habit and an error of each frame."""
    left, top, right, bottom = box
    height = bottom - top
    # Detectors rarely draw a standing person narrower than this.
    lacking = max(0.0, 0.3 * height - (right - left)) / 2
    off = (np.asarray(margin) + rng.normal(0, 0.012, 4)) * height
    return left - lacking - off[0], top - off[1], right + lacking + off[2], bottom + off[3]
