"""Several cameras on one clock, and people who walk from one to the next: video with its ground truth.

Files of a world:

- `camera-1.mp4` ...: H.264; the time of its first frame stands in the container.
- `camera-1.gt.txt` ...: MOT rows `frame,id,left,top,width,height,1,1,visibility`, frames from 1. A box holds
  all of the person, hidden parts too, cut off at the border; a row stands where a fifth of the person or more
  can be seen.
- `people.csv`: which person each track is. Who comes back to a camera has another track there.
- `cameras.json`: where the cameras are, in one system of coordinates, and how they project.
- `plan.json`: what it was made from.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.hooks import Hooks
from pipeline.video_writer import VideoWriter
from synthetic.assets import CharacterCard, load_character, panoramas, read_cards
from synthetic.cameras import Camera, sample_watching_camera
from synthetic.dressing import Wardrobe
from synthetic.figures import strolling_poses
from synthetic.filming import Film
from synthetic.journeys import Place, Visit, around_building, plan_visits
from synthetic.motion import walking_speed
from synthetic.optics import Optics, develop
from synthetic.people import Person, population
from synthetic.renderer import Figure, PersonModel, Renderer
from synthetic.routes import Grounds, sample_walk, survey
from synthetic.shards import claim_folder
from synthetic.sightings import sight
from synthetic.sites import Site, sample_site

Floats = NDArray[np.float64]

LEAST_VISIBLE = 0.2  # of a person, for a row of the ground truth
_SITES = 40  # drawn for a camera before one is given up
_SHADOW_SIZE = 2048
_PRESET = "slow"


@dataclass(frozen=True)
class WorldPlan:
    """What to render.

    Attributes:
        people: Who walk through it, at least 1.
        cameras: At least 2.
        seconds: Length.
        rate: Frames a second.
        width: Of the pictures, pixels, even.
        height: Likewise; people are about a fourth to a third of it.
        seed: Of everything.
        clear: By day and through good cameras; False: as the tracklets' cameras are, noise, haze and night.
        crf: Of the videos, 0 (lossless) to 51.
        start: Time of the first frame, ISO 8601.
    """

    people: int = 8
    cameras: int = 3
    seconds: float = 30.0
    rate: float = 10.0
    width: int = 960
    height: int = 540
    seed: int = 0
    clear: bool = True
    crf: int = 23
    start: str = "2024-05-06T10:00:00Z"

    def __post_init__(self) -> None:
        if self.people < 1 or self.cameras < 2:
            raise ValueError("a world needs a person and two cameras at least")
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 64:
            raise ValueError(f"pictures need even sides from 64 pixels, not {self.width}x{self.height}")
        if not 0 < self.rate < 1000 or not 0 < self.seconds < 1e6 or self.num_frames < 1:
            raise ValueError(f"{self.seconds} seconds at {self.rate} frames a second are no video")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must lie in 0 to 51, not {self.crf}")
        try:
            _ = self.start_time
        except ValueError:
            raise ValueError(f"start must be an ISO 8601 time, not '{self.start}'") from None

    @property
    def num_frames(self) -> int:
        """Of each camera."""
        return round(self.seconds * self.rate)

    @property
    def start_time(self) -> float:
        """Seconds UTC."""
        moment = datetime.fromisoformat(self.start)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True)
class World:
    """A planned world: sites with the origin and heading of each, people, and who is where when."""

    sites: list[Site]
    placed: list[tuple[tuple[float, float], float]]
    people: list[Person]
    visits: list[Visit]

    def tracks(self, camera: int) -> list[Visit]:
        """Visits to a camera in the order of their coming; a track's id is one more than its index here."""
        return sorted((v for v in self.visits if v.camera == camera), key=lambda v: float(v.walk.times[0]))


def write_world(assets: Path, folder: Path, plan: WorldPlan, hooks: Hooks) -> int:
    """Render a world; cameras that are there already are left as they are.

    Args:
        assets: The people pack.
        folder: Takes the files.
        plan: What to render.
        hooks: Told of progress.

    Returns:
        How many frames were rendered now.

    Raises:
        ValueError: the folder holds a world of another plan, or the plan has too many people.
        FileNotFoundError: there is no people pack.
    """
    cards = read_cards(assets)
    world = plan_world(cards, panoramas(assets), plan)
    claim_folder(folder, asdict(plan), assets, "a world")
    _write_cameras(folder / "cameras.json", world, plan)
    names = [_name(camera) for camera in range(plan.cameras)]
    todo = [camera for camera, name in enumerate(names) if not (folder / f"{name}.mp4").exists()]
    if todo:
        with Renderer(_SHADOW_SIZE) as renderer:
            wardrobe = Wardrobe(renderer, cards)
            models = [wardrobe.dress(person) for person in world.people]
            for camera in todo:
                _write_camera(renderer, world, models, camera, folder, plan, hooks)
    _write_people(folder, world)
    return len(todo) * plan.num_frames


def plan_world(cards: Sequence[CharacterCard], surroundings: list[Path], plan: WorldPlan) -> World:
    """Everything of a world but its pictures."""
    people = population(cards, plan.people, np.random.default_rng([plan.seed, 0]))
    sun = _sun(np.random.default_rng([plan.seed, 1]))
    found = [_site(surroundings, plan, camera) for camera in range(plan.cameras)]
    placed = around_building([site.camera.position[2] for site, _ in found])
    sites = [_in_sun(site, sun, heading) for (site, _), (_, heading) in zip(found, placed, strict=True)]
    places = [Place(grounds, *at) for (_, grounds), at in zip(found, placed, strict=True)]
    speeds = [walking_speed(p.gait, load_character(cards[p.character]).height * p.scale) for p in people]
    visits = plan_visits(places, speeds, plan.seconds, np.random.default_rng([plan.seed, 2]))
    return World(sites, placed, people, visits)


def _name(camera: int) -> str:
    return f"camera-{camera + 1}"


def _site(surroundings: list[Path], plan: WorldPlan, camera: int) -> tuple[Site, Grounds]:
    """The first site of a camera that people can walk through."""
    for attempt in range(_SITES):
        rng = np.random.default_rng([plan.seed, 3, camera, attempt])
        site = sample_site(rng, surroundings, sample_watching_camera(rng, plan.width, plan.height))
        grounds = survey(site)
        if sum(sample_walk(grounds, 1.3, rng) is not None for _ in range(300)) >= 20:
            return replace(site, optics=_video(site.optics, plan.clear)), grounds
    raise ValueError(f"none of {_SITES} sites has room for people to walk: take another seed")


def _video(optics: Optics, clear: bool) -> Optics:
    """A camera's constants for video, which is compressed as a whole; gentle ones where it is clear."""
    optics = replace(optics, quality=None)
    if not clear:
        return optics
    return replace(
        optics,
        exposure=float(np.clip(optics.exposure, -0.25, 0.2)),
        black_level=float(np.clip(optics.black_level, -0.02, 0.03)),
        contrast=float(np.clip(optics.contrast, 0, 0.4)),
        saturation=float(np.clip(optics.saturation, 0.6, 0.9)),
        blur_px=min(optics.blur_px, 0.6),
        sharpening=min(optics.sharpening, 0.4),
        read_noise=min(optics.read_noise, 0.002),
        shot_noise=min(optics.shot_noise, 0.012),
        chroma_noise=min(optics.chroma_noise, 0.8),
        interlace_px=0,
        ghost=0.0,
    )


def _sun(rng: np.random.Generator) -> Floats:
    """(3,) towards the sun, the same for all sites of a world."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(28, 65))
    level = np.cos(elevation)
    return np.array([level * np.cos(azimuth), np.sin(elevation), level * np.sin(azimuth)])


def _in_sun(site: Site, sun: Floats, heading: float) -> Site:
    c, s = np.cos(heading), np.sin(heading)
    direction = np.array([c * sun[0] - s * sun[2], sun[1], s * sun[0] + c * sun[2]], np.float32)
    return replace(site, light=replace(site.light, sun_direction=direction))


def _write_camera(
    renderer: Renderer,
    world: World,
    models: Sequence[PersonModel],
    camera: int,
    folder: Path,
    plan: WorldPlan,
    hooks: Hooks,
) -> None:
    """Ground truth and video of one camera; the video comes last and marks the camera as done."""
    site, name = world.sites[camera], _name(camera)
    times = np.arange(plan.num_frames) / plan.rate
    present = _figures(world, models, camera, times, np.random.default_rng([plan.seed, 4, camera]))
    rng = np.random.default_rng([plan.seed, 5, camera])
    scenery = site.build(renderer)
    rows: list[str] = []
    try:
        film = Film(renderer, site, scenery)
        path = folder / f"{name}.mp4"
        with VideoWriter(path, plan.rate, crf=plan.crf, preset=_PRESET, start=plan.start_time) as writer:
            for number, tracks in enumerate(present, start=1):
                figures = list(tracks.values())
                writer.add(develop(film.frame(figures), site.optics, rng))
                for track, found in zip(tracks, sight(renderer, site.camera, scenery, figures), strict=True):
                    if found is not None and found.visibility >= LEAST_VISIBLE:
                        rows.append(_row(number, track, found.full, found.visibility, plan))
                hooks.on_step(f"rendering {name}", number, plan.num_frames)
            (folder / f"{name}.gt.txt").write_text("".join(rows))
    finally:
        scenery.release()


def _figures(
    world: World,
    models: Sequence[PersonModel],
    camera: int,
    times: Floats,
    rng: np.random.Generator,
) -> list[dict[int, Figure]]:
    """For each frame, who walks in the site: track id -> figure."""
    present: list[dict[int, Figure]] = [{} for _ in times]
    for track, visit in enumerate(world.tracks(camera), start=1):
        frames = np.flatnonzero((times >= visit.walk.times[0]) & (times <= visit.walk.times[-1]))
        if not len(frames):
            continue
        person, model = world.people[visit.person], models[visit.person]
        walk = visit.walk.at(times[frames])
        matrices = strolling_poses(
            person, model.character, person.bearing(rng), walk.path, walk.times, walk.gait_times, walk.pace
        )
        for frame, pose in zip(frames.tolist(), matrices, strict=True):
            present[frame][track] = Figure(model, pose)
    return present


def _row(frame: int, track: int, box: Sequence[float], visibility: float, plan: WorldPlan) -> str:
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(float(plan.width), box[2]), min(float(plan.height), box[3])
    return f"{frame},{track},{left:g},{top:g},{right - left:g},{bottom - top:g},1,1,{visibility:.3f}\n"


def _write_people(folder: Path, world: World) -> None:
    with (folder / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["camera", "track", "person", "first_frame", "last_frame", "frames"])
        for camera in range(len(world.sites)):
            truth = np.loadtxt(folder / f"{_name(camera)}.gt.txt", delimiter=",", ndmin=2).reshape(-1, 9)
            for track, visit in enumerate(world.tracks(camera), start=1):
                frames = truth[truth[:, 1] == track, 0].astype(int)
                if len(frames):
                    number = world.people[visit.person].number
                    rows.writerow([_name(camera), track, number, frames.min(), frames.max(), len(frames)])


def _write_cameras(path: Path, world: World, plan: WorldPlan) -> None:
    cameras = [
        _camera_json(_name(number), site.camera.placed(*at), plan)
        for number, (site, at) in enumerate(zip(world.sites, world.placed, strict=True))
    ]
    note = "metres, y up; camera: right, down, ahead; pixels ~ intrinsics @ world_to_camera @ (x, y, z, 1)"
    path.write_text(json.dumps({"coordinates": note, "cameras": cameras}, indent=1) + "\n")


def _camera_json(name: str, camera: Camera, plan: WorldPlan) -> dict[str, Any]:
    f, cx, cy = camera.focal_px, camera.width / 2, camera.height / 2
    return {
        "name": name,
        "video": f"{name}.mp4",
        "ground_truth": f"{name}.gt.txt",
        "start": plan.start,
        "frame_rate": plan.rate,
        "num_frames": plan.num_frames,
        "width": camera.width,
        "height": camera.height,
        "position": np.round(camera.position, 4).tolist(),
        "target": np.round(camera.target, 4).tolist(),
        "roll_degrees": round(camera.roll, 3),
        "focal_px": round(f, 3),
        "intrinsics": np.round([[f, 0, cx], [0, f, cy], [0, 0, 1]], 3).tolist(),
        "world_to_camera": np.round(camera.world_to_camera, 6).tolist(),
    }
