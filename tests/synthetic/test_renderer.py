import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic import mesh as shapes
from synthetic.assets import REGIONS, Character, _Glb, _roles, _skeleton, load_character, read_cards
from synthetic.cameras import Camera
from synthetic.figures import box_of, outline, poses, straight_path
from synthetic.motion import Bearing, sample_gait
from synthetic.people import population
from synthetic.renderer import (
    SURFACE_SIZE,
    Dye,
    Figure,
    Light,
    Print,
    Renderer,
    SceneryModel,
    SceneryPart,
    Wearing,
)

CAMERA = Camera((0, 2.5, 8), (0, 0.9, 0), 900, 640, 480)
WHITE = np.array([255, 255, 255], np.uint8)
NEUTRAL = np.zeros((9, 3), np.float32)
NEUTRAL[0] = 0.8
CLOUDY = Light(NEUTRAL, np.float32([0.4, 0.8, 0.4]), np.zeros(3, np.float32), 1.0)
SUNNY = replace(CLOUDY, sun_colour=np.float32([2.0, 2.0, 2.0]), exposure=0.5)
NO_SUN = np.eye(4)


@pytest.fixture(scope="module")
def character(pack: Path) -> Character:
    return load_character(read_cards(pack)[0])


@pytest.fixture(scope="module")
def ground(renderer: Renderer) -> SceneryModel:
    """A grey plane under a blue sky."""
    floor = shapes.box((200, 0.1, 200), (0, -0.05, 0))
    surfaces = np.full((1, SURFACE_SIZE, SURFACE_SIZE, 4), (128, 128, 128, 255), np.uint8)
    sky = np.full((16, 32, 3), (40, 80, 200), np.uint8)
    return renderer.build_scenery([SceneryPart(floor, 0, WHITE)], surfaces, sky, 0.0)


def _figure(
    renderer: Renderer, character: Character, x: float = 0.0, z: float = 0.0, **dress: object
) -> Figure:
    arguments = {"dyes": {}, "picture": None, "wearing": []} | dress
    model = renderer.dress(character, **arguments)  # type: ignore[arg-type]
    person = population([character.card], 1, np.random.default_rng(0))[0]
    person = replace(person, scale=1.0, girth=1.0, gait=sample_gait(np.random.default_rng(1)))
    times = np.array([0.0])
    path = straight_path((x, z), 0.0, 1.2, times)
    return Figure(model, poses(person, character, Bearing("walk", "hang", "hang", 0.1, 0), path, times)[0])


def test_the_projected_box_is_where_the_pixels_are(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    figure = _figure(renderer, character, 0.5, -0.5)
    box = box_of(CAMERA, figure, outline(character, 10_000))
    seen = renderer.identify(CAMERA.view(), ground, [figure])
    rows, columns = np.nonzero(seen == 1)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(box, found, atol=2)
    assert 100 < found[3] - found[1] < 300


def test_a_window_is_a_cutting_of_the_whole_picture(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    figure = _figure(renderer, character)
    whole = renderer.draw(CAMERA.view(), CLOUDY, ground, [figure], NO_SUN)
    assert whole.shape == (480, 640, 3)
    window = renderer.draw(CAMERA.view((260, 120, 380, 360)), CLOUDY, ground, [figure], NO_SUN)
    difference = np.abs(window.astype(int) - whole[120:360, 260:380])
    assert window.shape == (240, 120, 3)
    assert np.median(difference) <= 1
    assert (difference > 24).mean() < 0.03  # edges fall differently on the pixel grid
    large = renderer.draw(CAMERA.view((260, 120, 380, 360), (240, 480)), CLOUDY, ground, [figure], NO_SUN)
    assert large.shape == (480, 240, 3)
    assert abs(large.mean() - window.mean()) < 2


def test_the_same_scene_is_drawn_the_same(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    figure = _figure(renderer, character)
    sun = renderer.cast_shadows(SUNNY, ground, [figure], np.zeros(3), 3.0)
    first = renderer.draw(CAMERA.view(), SUNNY, ground, [figure], sun)
    np.testing.assert_array_equal(first, renderer.draw(CAMERA.view(), SUNNY, ground, [figure], sun))


def test_the_sun_casts_a_shadow_on_the_ground(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    figure = _figure(renderer, character)
    sun = renderer.cast_shadows(SUNNY, ground, [figure], np.zeros(3), 3.0)
    with_person = renderer.draw(CAMERA.view(), SUNNY, ground, [figure], sun).astype(int)
    person = renderer.identify(CAMERA.view(), ground, [figure]) == 1
    sun = renderer.cast_shadows(SUNNY, ground, [], np.zeros(3), 3.0)
    without = renderer.draw(CAMERA.view(), SUNNY, ground, [], sun).astype(int)
    darker = (without - with_person).mean(2) > 15
    assert (darker & ~person).sum() > 400
    # Towards the sun (+x, +z) there is none: the shadow lies on the other side.
    _rows, columns = np.nonzero(darker & ~person)
    assert columns.mean() < np.nonzero(person)[1].mean()


def test_who_stands_in_front_hides_who_stands_behind(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    near, far = _figure(renderer, character, 0, 1), _figure(renderer, character, 0, -1)
    alone = (renderer.identify(CAMERA.view(), ground, [far]) == 1).sum()
    both = renderer.identify(CAMERA.view(), ground, [near, far])
    assert (both == 2).sum() < 0.5 * alone
    assert (both == 1).sum() == (renderer.identify(CAMERA.view(), ground, [near]) == 1).sum()


def test_dyes_change_their_region_alone(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    lab = character.card.lab["top"]
    red = Dye(lab, np.float32([45, 60, 40]), np.float32([45, 60, 40]), 0, 0.1, 0.0, 0.5)
    plain, dyed = _figure(renderer, character), _figure(renderer, character, dyes={REGIONS.index("top"): red})
    before, after = (
        renderer.draw(CAMERA.view(), CLOUDY, ground, [f], NO_SUN).astype(int) for f in (plain, dyed)
    )
    changed = np.abs(after - before).max(2) > 20
    rows = np.nonzero((renderer.identify(CAMERA.view(), ground, [plain]) == 1).any(1))[0]
    top, bottom = rows.min(), rows.max()
    middle = (top + bottom) // 2
    assert changed[top + (middle - top) // 3 : middle].any()
    assert not changed[middle + (bottom - middle) // 3 :].any()
    reddened = after[changed]
    assert (reddened[:, 0] > reddened[:, 1] + 30).mean() > 0.8


def test_patterns_prints_and_things_show(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    lab = character.card.lab["top"]
    rings = Dye(lab, np.float32([90, 0, 0]), np.float32([10, 0, 0]), 1, 0.1, 0.0, 0.5)
    green = np.zeros((8, 8, 4), np.uint8)
    green[:] = (0, 255, 0, 255)
    bag = Wearing(shapes.box((0.2, 0.2, 0.2), (0, 1.3, 0.3)), 2, np.array([255, 0, 255], np.uint8))
    pictures = [
        renderer.draw(CAMERA.view(), CLOUDY, ground, [_figure(renderer, character, **dress)], NO_SUN).astype(
            int
        )
        for dress in (
            {"dyes": {1: rings}},
            {"picture": Print(green, (0.0, 1.3), 0.1, back=False)},
            {"wearing": [bag]},
        )
    ]
    ringed, printed, bagged = pictures
    trunk = ringed[150:250, 300:340].mean(2)
    assert np.ptp(trunk.mean(1)) > 60  # light and dark rings
    assert ((printed[..., 1] > 150) & (printed[..., 0] < 90)).sum() > 50
    assert ((bagged[..., 0] > 150) & (bagged[..., 1] < 90)).sum() > 50


def test_a_file_that_is_no_character_is_named(tmp_path: Path, pack: Path) -> None:
    card = replace(read_cards(pack)[0], path=tmp_path / "cut.glb")
    card.path.write_bytes(read_cards(pack)[0].path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"cut\.glb"):
        load_character(card)
    with pytest.raises(FileNotFoundError, match=r"no people pack .* characters\.csv"):
        read_cards(tmp_path)


def _damaged(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A .glb with another JSON chunk."""
    raw = source.read_bytes()
    length = int.from_bytes(raw[12:16], "little")
    tree = json.loads(raw[20 : 20 + length])
    change(tree)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    target.write_bytes(raw[:12] + len(text).to_bytes(4, "little") + raw[16:20] + text + raw[20 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(materials=None),
        lambda tree: tree["accessors"][tree["meshes"][0]["primitives"][0]["indices"]].update(count=10**9),
        lambda tree: tree["accessors"][tree["meshes"][0]["primitives"][0]["indices"]].update(
            bufferView=tree["accessors"][0]["bufferView"],
            count=30,  # coordinates read as indices
        ),
        lambda tree: tree["meshes"][0]["primitives"][0].update(material=7),
        lambda tree: tree.update(skins=[]),
    ],
)
def test_a_hostile_character_is_refused_by_name(
    tmp_path: Path, pack: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    card = replace(read_cards(pack)[0], path=tmp_path / "hostile.glb")
    _damaged(read_cards(pack)[0].path, card.path, change)
    with pytest.raises(ValueError, match=r"hostile\.glb is not a character"):
        load_character(card)


def test_joints_that_are_each_other_s_parents_move_with_the_hips(pack: Path) -> None:
    names, parents, places = _skeleton(_Glb(read_cards(pack)[0].path))
    count = len(names)
    more = np.concatenate([places, places[:2]])
    moved_by, _ = _roles([*names, "one", "two"], [*parents, count + 1, count], more)
    assert moved_by[count:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", "names no characters"),
        ("name,age\na,3\n", "is not the table of a people pack"),
        (
            "source,file,sex,age_group,upper_garment,lower_garment\nvalid,/etc/passwd,F,a,b,c\n",
            "outside of the pack",
        ),
    ],
)
def test_a_damaged_table_of_a_pack_is_refused(tmp_path: Path, table: str, complaint: str) -> None:
    (tmp_path / "characters.csv").write_text(table)
    with pytest.raises(ValueError, match=complaint):
        read_cards(tmp_path)


def test_two_renderers_do_not_disturb_each_other(
    renderer: Renderer, character: Character, ground: SceneryModel
) -> None:
    figure = _figure(renderer, character)
    view = CAMERA.view()
    before = renderer.draw(view, CLOUDY, ground, [figure], NO_SUN)
    with Renderer() as other:
        theirs = _figure(other, character, x=1.0)
        renderer.dress(character, {}, None, []).release()
        other.identify(view, None, [theirs])
        assert np.array_equal(renderer.draw(view, CLOUDY, ground, [figure], NO_SUN), before)
        theirs.model.release()
    assert np.array_equal(renderer.draw(view, CLOUDY, ground, [figure], NO_SUN), before)
