"""Who walks through a synthetic world: identities drawn from a seed, without near-duplicates by accident.

An identity is a character of the pack, body proportions, colours and patterns of clothes, hair and skin,
what is carried, and a gait. Some identities are hard twins on purpose: another body in the same clothes, or
the same body with one garment changed; a model must tell them apart.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.assets import CharacterCard
from synthetic.motion import Arm, Bearing, Gait, sample_gait

PATTERNS = (
    "plain",
    "rings",
    "stripes",
    "checks",
    "grid",
    "dots",
    "camouflage",
    "lower_half",
    "band",
    "sleeves",
    "open_front",
    "side_seams",
    "diagonal",
    "yoke",
)
TWIN_SHARE = 0.1
SAME_COLOUR = 14.0  # CIELab distance under which two garments may pass for one another

_TOP_PATTERNS = [0.5, 0.07, 0.04, 0.05, 0.02, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.0, 0.01, 0.03]
_BOTTOM_PATTERNS = [0.84, 0.0, 0.01, 0.02, 0.01, 0.0, 0.04, 0.0, 0.0, 0.0, 0.0, 0.07, 0.01, 0.0]
# Name -> share of people who have one. Some have two.
_ACCESSORIES = {
    "backpack": 0.16,
    "shoulder_bag": 0.12,
    "handbag": 0.08,
    "tote": 0.06,
    "shopping_bag": 0.07,
    "suitcase": 0.03,
    "laptop_bag": 0.04,
    "cap": 0.08,
    "beanie": 0.05,
    "hat": 0.03,
    "hood_down": 0.06,
    "scarf": 0.05,
    "coat_over_arm": 0.03,
    "umbrella_closed": 0.02,
    "helmet": 0.01,
    "waist_pouch": 0.03,
    "jacket_tied_round_waist": 0.03,
    "headphones": 0.03,
}
_ON_HEAD = frozenset({"cap", "beanie", "hat", "helmet", "headphones"})
_IN_HAND: dict[str, Arm] = {
    "handbag": "carry",
    "shopping_bag": "carry",
    "suitcase": "carry",
    "laptop_bag": "carry",
    "umbrella_closed": "carry",
    "coat_over_arm": "bent",
}

Colour = tuple[float, float, float]
Side = Literal["left", "right"]


@dataclass(frozen=True)
class Garment:
    """Colours and pattern of a region; CIELab. `target` None leaves the character's own texture."""

    target: Colour | None
    second: Colour = (50, 0, 0)
    pattern: str = "plain"
    size: float = 0.1
    phase: float = 0.0
    share: float = 0.5


@dataclass(frozen=True)
class Accessory:
    """Something worn or carried: its kind, side, two CIELab colours, and the seed of its shape."""

    kind: str
    side: Side
    main: Colour
    second: Colour
    seed: int


@dataclass(frozen=True)
class Person:
    """One identity.

    Attributes:
        number: From 1; the pid.
        character: Index into the pack's cards.
        scale: Of the body.
        girth: Of the body's width and depth beside `scale`.
        garments: Region -> colours.
        print_seed: Of a picture on the top, or None.
        accessories: At most three.
        gait: How the person walks.
        idle_arms: What each arm does when nothing is held: left, right.
        twin_of: Number of the person this one was made from, or None.
    """

    number: int
    character: int
    scale: float
    girth: float
    garments: dict[str, Garment]
    print_seed: int | None
    accessories: tuple[Accessory, ...]
    gait: Gait
    idle_arms: tuple[Arm, Arm]
    twin_of: int | None = None

    def bearing(self, rng: np.random.Generator) -> Bearing:
        """What this person does during one tracklet: mostly walking, with hands as full as they are."""
        arms: dict[Side, Arm] = dict(zip(("left", "right"), self.idle_arms, strict=True))
        for side in arms:
            if rng.random() < 0.15:
                arms[side] = _one_of(("swing", "hang", "phone", "pocket", "bent"), rng)
        for thing in self.accessories:
            if thing.kind in _IN_HAND:
                arms[thing.side] = _IN_HAND[thing.kind]
        activity = rng.choice(["walk", "stand", "turn"], p=[0.84, 0.1, 0.06])
        return Bearing(activity, arms["left"], arms["right"], rng.random(), rng.normal(0, 14))


def _one_of(options: Sequence[Arm], rng: np.random.Generator) -> Arm:
    return options[int(rng.integers(len(options)))]


def population(cards: Sequence[CharacterCard], count: int, rng: np.random.Generator) -> list[Person]:
    """Draw people, each told apart from all others of the same face by more than a shade.

    Args:
        cards: The pack's characters.
        count: How many people, at least 1.
        rng: Source of everything.

    Returns:
        `count` people numbered from 1. Characters are used evenly.

    Raises:
        ValueError: the pack is too small for so many different people.
    """
    people: list[Person] = []
    seen: dict[str, list[Person]] = defaultdict(list)
    order = np.concatenate([rng.permutation(len(cards)) for _ in range(-(-count // len(cards)))])
    for number, character in enumerate(order[:count].tolist(), start=1):
        is_twin = bool(people) and rng.random() < TWIN_SHARE
        for _ in range(60):
            person = (
                _twin(cards, people, number, character, rng)
                if is_twin
                else _stranger(cards, number, character, rng)
            )
            base = cards[person.character].base
            if not any(_alike(cards, person, other) for other in seen[base]):
                break
        else:
            raise ValueError(
                f"{len(cards)} characters are too few for {count} people who differ: ask for fewer"
            )
        people.append(person)
        seen[base].append(person)
    return people


def _stranger(
    cards: Sequence[CharacterCard], number: int, character: int, rng: np.random.Generator
) -> Person:
    adult = cards[character].age_group != "teen 15-19"
    habits: Sequence[Arm] = ("swing", "swing", "swing", "swing", "hang", "hang", "pocket")
    arms = (_one_of(habits, rng), _one_of(habits, rng))
    return Person(
        number,
        character,
        scale=float(np.clip(rng.normal(1.0 if adult else 0.96, 0.04), 0.88, 1.1)),
        girth=float(np.clip(rng.normal(1.02, 0.06), 0.9, 1.2)),
        garments=_outfit(rng) | {"skin": _skin(cards[character], rng)},
        print_seed=int(rng.integers(2**31)) if rng.random() < 0.22 else None,
        accessories=_accessories(rng),
        gait=sample_gait(rng),
        idle_arms=arms,
    )


def _twin(
    cards: Sequence[CharacterCard],
    people: Sequence[Person],
    number: int,
    character: int,
    rng: np.random.Generator,
) -> Person:
    """Another body in somebody's clothes, or somebody with one garment changed."""
    other = people[int(rng.integers(len(people)))]
    stranger = _stranger(cards, number, character, rng)
    same_sex = cards[character].sex == cards[other.character].sex
    if rng.random() < 0.5 and same_sex and cards[character].base != cards[other.character].base:
        return replace(
            stranger,
            garments=other.garments | {"skin": stranger.garments["skin"]},
            print_seed=other.print_seed,
            accessories=other.accessories,
            twin_of=other.number,
        )
    changed = ("top", "bottom", "shoes")[int(rng.choice(3, p=[0.5, 0.4, 0.1]))]
    garments = other.garments | {changed: _GARMENTS[changed](rng)}
    return replace(other, number=number, garments=garments, gait=stranger.gait, twin_of=other.number)


def _alike(cards: Sequence[CharacterCard], one: Person, other: Person) -> bool:
    """Whether two people of the same base could be taken for one: all garments and things about equal."""
    if {a.kind for a in one.accessories} != {a.kind for a in other.accessories}:
        return False
    if (one.print_seed is None) != (other.print_seed is None):
        return False
    for region in ("top", "bottom", "shoes"):
        a, b = one.garments[region], other.garments[region]
        own = cards[one.character].lab.get(region), cards[other.character].lab.get(region)
        colours = [
            np.asarray(g.target if g.target is not None else lab if lab is not None else (0, 0, 0))
            for g, lab in zip((a, b), own, strict=True)
        ]
        if a.pattern != b.pattern or np.linalg.norm(colours[0] - colours[1]) > SAME_COLOUR:
            return False
    return True


def _outfit(rng: np.random.Generator) -> dict[str, Garment]:
    return {region: make(rng) for region, make in _GARMENTS.items()}


def _top(rng: np.random.Generator) -> Garment:
    if rng.random() < 0.2:
        return Garment(None)
    return _patterned(rng, _cloth(rng, dark=0.34, light=0.2, vivid=0.2), _TOP_PATTERNS)


def _bottom(rng: np.random.Generator) -> Garment:
    kind = rng.random()
    if kind < 0.2:
        return Garment(None)
    if kind < 0.45:  # denim
        colour: Colour = (rng.uniform(14, 62), rng.normal(-1, 2), rng.uniform(-22, -6))
    else:
        colour = _cloth(rng, dark=0.62, light=0.1, vivid=0.07)
    return _patterned(rng, colour, _BOTTOM_PATTERNS)


def _shoes(rng: np.random.Generator) -> Garment:
    if rng.random() < 0.3:
        return Garment(None)
    return Garment(_cloth(rng, dark=0.5, light=0.27, vivid=0.08))


def _hair(rng: np.random.Generator) -> Garment:
    if rng.random() < 0.25:
        return Garment(None)
    lightness = float(
        rng.choice([rng.uniform(5, 18), rng.uniform(18, 38), rng.uniform(45, 72)], p=[0.5, 0.32, 0.18])
    )
    if rng.random() < 0.12:  # grey
        return Garment((rng.uniform(45, 80), 0.0, 2.0))
    return Garment((lightness, rng.uniform(2, 9), 4 + 0.28 * lightness))


def _skin(card: CharacterCard, rng: np.random.Generator) -> Garment:
    """The character's own, a few L lighter or darker: prints and bags tell people apart, not skin."""
    if "skin" not in card.lab:
        return Garment(None)
    lightness, a, b = card.lab["skin"].tolist()
    return Garment((lightness + float(np.clip(rng.normal(0, 2.5), -6, 6)), a, b))


_GARMENTS: dict[str, Callable[[np.random.Generator], Garment]] = {
    "top": _top,
    "bottom": _bottom,
    "shoes": _shoes,
    "hair": _hair,
}


def _cloth(rng: np.random.Generator, *, dark: float, light: float, vivid: float) -> Colour:
    """A colour that clothes have: shares of near-black, near-white, and vivid ones; the rest is muted."""
    kind = rng.random()
    angle = rng.uniform(0, 2 * np.pi)
    if kind < dark:
        lightness, chroma = rng.uniform(6, 24), abs(rng.normal(0, 6))
    elif kind < dark + light:
        lightness, chroma = rng.uniform(72, 95), abs(rng.normal(0, 5))
    elif kind < dark + light + vivid:
        lightness, chroma = rng.uniform(28, 78), rng.uniform(32, 62)
    else:
        lightness, chroma = rng.uniform(22, 75), abs(rng.normal(0, 15))
    return float(lightness), float(chroma * np.cos(angle)), float(chroma * np.sin(angle))


def _patterned(rng: np.random.Generator, colour: Colour, shares: Sequence[float]) -> Garment:
    pattern = PATTERNS[int(rng.choice(len(PATTERNS), p=np.asarray(shares) / sum(shares)))]
    second = _cloth(rng, dark=0.3, light=0.35, vivid=0.15)
    for _ in range(20):
        if np.linalg.norm(np.subtract(second, colour)) > 22:
            break
        second = _cloth(rng, dark=0.3, light=0.35, vivid=0.15)
    size = (
        rng.uniform(0.12, 0.4)
        if pattern in ("lower_half", "band")
        else float(np.exp(rng.uniform(-3.4, -1.7)))
    )
    return Garment(colour, second, pattern, float(size), float(rng.random()), float(rng.uniform(0.25, 0.7)))


def _accessories(rng: np.random.Generator) -> tuple[Accessory, ...]:
    kinds = [kind for kind, share in _ACCESSORIES.items() if rng.random() < share]
    rng.shuffle(kinds)
    things: list[Accessory] = []
    taken: set[str] = set()
    for kind in kinds[:3]:
        side: Side = "left" if rng.random() < 0.5 else "right"
        place = "head" if kind in _ON_HEAD else side if kind in _IN_HAND else kind
        if place in taken:
            continue
        taken.add(place)
        main = _cloth(rng, dark=0.4, light=0.15, vivid=0.2)
        second = _cloth(rng, dark=0.4, light=0.2, vivid=0.2)
        things.append(Accessory(kind, side, main, second, int(rng.integers(2**31))))
    return tuple(things)


def lab_to_rgb(colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """(N, 3) uint8 RGB of CIELab colours."""
    lab = np.asarray(colours, np.float32).reshape(1, -1, 3)
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0]
    return np.asarray(np.clip(rgb * 255 + 0.5, 0, 255), np.uint8)
