"""From an identity to a model on the GPU: the character, its dyes, its print and what it carries."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from synthetic import surfaces
from synthetic.accessories import Body, build
from synthetic.assets import REGIONS, Character, CharacterCard, load_character
from synthetic.motion import ROLES
from synthetic.people import PATTERNS, Garment, Person, lab_to_rgb
from synthetic.renderer import Dye, PersonModel, Print, Renderer, Wearing


class Wardrobe:
    """Dresses people; keeps the last few characters it has read.

    Args:
        renderer: Where the models live.
        cards: The pack's characters.
    """

    def __init__(self, renderer: Renderer, cards: Sequence[CharacterCard], keep: int = 64) -> None:
        self._renderer = renderer
        self._load = lru_cache(keep)(lambda index: load_character(cards[index]))

    def dress(self, person: Person) -> PersonModel:
        """The person's model; the caller releases it."""
        character = self._load(person.character)
        dyes = {
            REGIONS.index(region): _dye(character.card, region, garment)
            for region, garment in person.garments.items()
            if garment.target is not None and region in character.card.lab
        }
        return self._renderer.dress(character, dyes, _print(character, person), _wearing(character, person))


def _dye(card: CharacterCard, region: str, garment: Garment) -> Dye:
    return Dye(
        card.lab[region],
        np.asarray(garment.target, np.float32),
        np.asarray(garment.second, np.float32),
        PATTERNS.index(garment.pattern),
        garment.size,
        garment.phase,
        garment.share,
    )


def _print(character: Character, person: Person) -> Print | None:
    if person.print_seed is None:
        return None
    rng = np.random.default_rng(person.print_seed)
    picture = surfaces.cloth_print(rng)
    chest = float(character.joints[ROLES.index("chest"), 1])
    back = bool(rng.random() < 0.3)
    half = (
        rng.uniform(0.09, 0.2)
        if back
        else float(rng.choice([rng.uniform(0.04, 0.07), rng.uniform(0.08, 0.17)]))
    )
    aside = 0.07 if half < 0.075 else 0.0
    return Print(picture, (aside, chest + rng.uniform(-0.06, 0.08)), float(half), back)


def _wearing(character: Character, person: Person) -> list[Wearing]:
    body = measure(character)
    worn = []
    for thing in person.accessories:
        colours = dict(zip(("main", "second"), lab_to_rgb([thing.main, thing.second]), strict=True))
        for part in build(thing.kind, body, thing.side, np.random.default_rng(thing.seed)):
            worn.append(Wearing(part.mesh, ROLES.index(part.role), colours[part.colour]))
    return worn


def measure(character: Character) -> Body:
    """Where the surfaces of a body are, for things to be put on it."""
    joints = dict(zip(ROLES, character.joints, strict=True))
    points = character.positions
    trunk = np.isin(character.roles[:, 0], [ROLES.index(role) for role in ("hips", "spine", "chest")])

    def around(height: float, reach: float = 0.06) -> NDArray[np.float32]:
        near = points[trunk & (np.abs(points[:, 1] - height) < reach)]
        return near if len(near) else points[trunk]

    chest, hips = around(float(joints["chest"][1]) + 0.08), around(float(joints["hips"][1]) - 0.02)
    head = points[character.roles[:, 0] == ROLES.index("head")]
    return Body(
        joints=joints,
        height=character.height,
        chest_depth_front=float(np.percentile(chest[:, 2], 97)),
        chest_depth_back=float(np.percentile(chest[:, 2], 3)),
        shoulder_width=float(np.abs(joints["left_upper_arm"][0] - joints["right_upper_arm"][0])),
        hip_width=float(np.ptp(np.percentile(hips[:, 0], [3, 97]))),
        head_top=float(head[:, 1].max()),
        head_radius=float(np.percentile(np.abs(head[:, 0]), 97)),
        head_front=float(np.percentile(head[:, 2], 98)),
    )
