from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from synthetic.assets import CharacterCard
from synthetic.people import _IN_HAND, SAME_COLOUR, population


@pytest.fixture(scope="module")
def cards() -> list[CharacterCard]:
    """300 characters on paper; nothing is loaded."""
    colours = {"top": (50, 0, 0), "bottom": (30, 0, 0), "shoes": (20, 0, 0), "skin": (60, 15, 18)}
    lab = {region: np.float32(colour) for region, colour in colours.items()}
    return [
        CharacterCard(Path(f"{n}.glb"), f"face{n // 2}", "MF"[n % 2], "adult", "shirt, jeans", lab)
        for n in range(300)
    ]


def test_three_thousand_different_people_come_from_one_seed(cards: list[CharacterCard]) -> None:
    people = population(cards, 3000, np.random.default_rng(5))
    assert [person.number for person in people] == list(range(1, 3001))
    assert people == population(cards, 3000, np.random.default_rng(5))
    assert people != population(cards, 3000, np.random.default_rng(6))
    used = np.bincount([person.character for person in people], minlength=len(cards))
    assert used.min() >= 5  # every face is used about evenly


def test_nobody_is_a_near_duplicate(cards: list[CharacterCard]) -> None:
    people = population(cards, 1200, np.random.default_rng(1))
    by_face: dict[str, list[int]] = {}
    for index, person in enumerate(people):
        by_face.setdefault(cards[person.character].base, []).append(index)
    compared = 0
    for faces in by_face.values():
        for i, a in enumerate(faces):
            for b in faces[:i]:
                one, other = people[a], people[b]
                things = {t.kind for t in one.accessories} == {t.kind for t in other.accessories}
                prints = (one.print_seed is None) == (other.print_seed is None)
                garments = all(
                    one.garments[r].pattern == other.garments[r].pattern
                    and _distance(cards, one, other, r) <= SAME_COLOUR
                    for r in ("top", "bottom", "shoes")
                )
                assert not (things and prints and garments), (one, other)
                compared += 1
    assert compared > 2000


def _distance(cards: list[CharacterCard], one: object, other: object, region: str) -> float:
    colours = []
    for person in (one, other):
        target = person.garments[region].target  # type: ignore[attr-defined]
        colours.append(cards[person.character].lab[region] if target is None else target)  # type: ignore[attr-defined]
    return float(np.linalg.norm(np.subtract(*colours)))


def test_twins_share_all_but_one_thing(cards: list[CharacterCard]) -> None:
    people = population(cards, 2000, np.random.default_rng(2))
    twins = [person for person in people if person.twin_of is not None]
    assert 100 < len(twins) < 300
    kinds = set()
    for twin in twins:
        other = people[twin.twin_of - 1]  # type: ignore[operator]
        changed = {r for r in twin.garments if r != "skin" and twin.garments[r] != other.garments[r]}
        if cards[twin.character].base == cards[other.character].base:
            assert len(changed) == 1
            assert twin.accessories == other.accessories
            assert twin.garments["skin"] == other.garments["skin"]
            kinds |= changed
        else:
            assert not changed
            kinds.add("body")
    assert kinds == {"top", "bottom", "shoes", "body"}


def test_a_pack_too_small_for_so_many_says_so(
    cards: list[CharacterCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthetic.people._alike", lambda cards, one, other: True)
    with pytest.raises(ValueError, match="1 characters are too few for 2 people"):
        population(cards[:1], 2, np.random.default_rng(0))


def test_skin_keeps_near_the_characters_own(cards: list[CharacterCard]) -> None:
    people = population(cards, 300, np.random.default_rng(3))
    off = np.array([person.garments["skin"].target for person in people]) - (60, 15, 18)
    assert 1.5 < off[:, 0].std() < 3.5
    assert np.abs(off[:, 0]).max() <= 6
    assert not off[:, 1:].any()


def test_people_mostly_walk_and_also_stand_turn_and_telephone(cards: list[CharacterCard]) -> None:
    rng = np.random.default_rng(4)
    people = population(cards, 300, rng)
    seen = [(person, person.bearing(rng)) for person in people for _ in range(4)]
    activities = Counter(bearing.activity for _, bearing in seen)
    assert activities["walk"] > 900
    assert min(activities["stand"], activities["turn"]) > 30
    assert sum("phone" in (bearing.left_arm, bearing.right_arm) for _, bearing in seen) > 30
    for person, bearing in seen:
        for thing in person.accessories:
            if thing.kind in _IN_HAND:
                arm = bearing.left_arm if thing.side == "left" else bearing.right_arm
                assert arm == _IN_HAND[thing.kind], "a full hand holds on"


def test_all_that_can_be_worn_and_carried_occurs(cards: list[CharacterCard]) -> None:
    people = population(cards, 3000, np.random.default_rng(5))
    things = Counter(thing.kind for person in people for thing in person.accessories)
    assert len(things) == 18
    assert min(things.values()) >= 10
    assert max(len(person.accessories) for person in people) == 3
    for region in ("top", "bottom", "shoes", "hair"):
        colours = {person.garments[region].target for person in people}
        assert len(colours) > 1500, region
    assert len({person.garments["top"].pattern for person in people}) >= 12
