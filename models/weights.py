"""Weights by name or by file: find them, check them against their cards, fetch them when asked, import them.

Places, in this order: the path given, `models/weights/` in the repository, the cache folder. Nothing here
reaches the network except `fetch`, and `fetch` runs only when the user asked for it.

Which files are trusted: ONNX, OpenVINO and safetensors hold numbers and a graph, and load as they are. A
detector's `.pt` is a pickle that runs code when it is loaded, a TorchScript archive is a program, and a
TensorRT engine may carry one: these load only when a card has their hash. An embedder's `.pt` or `.pth` is
read with PyTorch's restricted unpickler (`models.checkpoint`) and so needs no card.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.weight_cards import (
    KINDS,
    REPOSITORY_FOLDER,
    CardError,
    FetchRoute,
    Measurement,
    UnknownWeights,
    WeightCard,
    cache_folder,
    card,
    list_cards,
    write_card,
)
from models.weight_fetch import FetchError, deliver
from models.weight_files import (
    OPENVINO_ENDING,
    NotWeights,
    check_form,
    copy_weights,
    is_openvino,
    runs_code,
    weights_sha256,
)

__all__ = [
    "DEFAULT_DETECTOR",
    "DEFAULT_DETECTOR_GPU",
    "DEFAULT_EMBEDDER",
    "CardError",
    "FetchError",
    "FetchRoute",
    "Measurement",
    "MissingWeights",
    "NotWeights",
    "ResolvedWeights",
    "UnknownWeights",
    "UntrustedWeights",
    "WeightCard",
    "WeightsMismatch",
    "cache_folder",
    "card",
    "default_embedder",
    "fetch",
    "import_weights",
    "list_cards",
    "resolve",
    "weights_sha256",
]

# The same network in the form that is quickest where it runs (benchmarks/detectors.py).
DEFAULT_DETECTOR = "yolov5s_coco_onnx"
DEFAULT_DETECTOR_GPU = "yolov5s_coco"
# Lies in `models/weights/` with its card and is part of the package; None: there is no default.
DEFAULT_EMBEDDER: str | None = "ste_nvan_r50_synthetic"


class MissingWeights(FileNotFoundError):
    """Weights that are on no known place of this machine."""


class UntrustedWeights(ValueError):
    """A file that can run code when it is loaded, and that no card vouches for."""


class WeightsMismatch(ValueError):
    """A file that bears the name of a card but has another hash."""


@dataclass(frozen=True)
class ResolvedWeights:
    """Weights that are there and checked.

    Attributes:
        path: The file, or the OpenVINO folder.
        sha256: Its hash, see `weights_sha256`.
        card: Its card; None for a file without one.
    """

    path: Path
    sha256: str
    card: WeightCard | None

    @property
    def bundled(self) -> bool:
        """Whether the file came with Retrace, so that nothing has to be fetched."""
        return self.path.parent == REPOSITORY_FOLDER

    @property
    def origin_sha256(self) -> str:
        """Hash of what was published: unlike `sha256` the same after every conversion of the same weights."""
        published = self.card.fetch.sha256 if self.card and self.card.converter and self.card.fetch else None
        return published or self.sha256


def resolve(weights: str | Path | None, kind: str, *, trust: bool = False) -> ResolvedWeights:
    """Find weights and check that they are what they claim to be.

    Args:
        weights: Name of a card, a file name in one of the two folders, a path, or None for the default (of
            embedders: `default_embedder`).
        kind: `detector` or `embedder`.
        trust: The user vouches for a file that can run code and has no card.

    Raises:
        MissingWeights: Nothing is there; says what to put where.
        UntrustedWeights: A file that can run code, without a card, and `trust` is not set.
        WeightsMismatch: The file of a card has another hash than the card; says both.
        NotWeights: The file is empty, cut or of a form that is no weights of this kind.
        ValueError: The weights are of the other kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if weights is None:
        weights = DEFAULT_DETECTOR if kind == "detector" else default_embedder()
        if weights is None:
            raise MissingWeights("no default weights for embedders: give --embedder-weights FILE")
    cards = list_cards()
    path, named = _locate(str(weights), cards)
    if named is not None:
        _check_kind(named, kind)
    check_form(path, kind)
    digest = weights_sha256(path)
    matched = _matching_card(path, digest, named, cards)
    if matched is not None:
        _check_kind(matched, kind)
    else:
        _check_trust(path, digest, kind, trust)
    if kind == "detector" and is_openvino(path) and path.is_file():
        path = path.parent  # Ultralytics takes the folder
        if not path.name.endswith(OPENVINO_ENDING):
            raise NotWeights(
                f"Ultralytics needs the folder {path} to be called NAME{OPENVINO_ENDING}: rename it"
            )
    return ResolvedWeights(path, digest, matched)


def default_embedder() -> str | None:
    """Name of the embedder's weights that came with Retrace; None when there are none.

    Without its card the file would be weights of unknown origin, and without its file the card would send
    the user to fetch what no index has; so both must be there.
    """
    if DEFAULT_EMBEDDER is None or not (REPOSITORY_FOLDER / f"{DEFAULT_EMBEDDER}.json").is_file():
        return None
    return DEFAULT_EMBEDDER if (REPOSITORY_FOLDER / card(DEFAULT_EMBEDDER).file).is_file() else None


def fetch(name: str, *, progress: Callable[[str], None] | None = None, force: bool = False) -> Path:
    """Get the weights called `name` into the cache folder, converted where their card says so.

    Only for a user who asked. A file that is there with the right hash, in the cache folder or bundled with
    Retrace, is left as it is unless `force`.

    Args:
        name: Name of a card with a fetch route.
        progress: Called with one line per step.
        force: Fetch again.

    Returns:
        Path of the weights.

    Raises:
        UnknownWeights: No such card.
        ValueError: The card has no route.
        FetchError: The route failed; says why and what to do instead.
    """
    wanted = card(name)
    target = cache_folder() / wanted.file
    for here in (REPOSITORY_FOLDER / wanted.file, target):
        if not force and here.exists() and weights_sha256(here) == wanted.sha256:
            return here
    if wanted.fetch is None:
        raise ValueError(f"{name} has no fetch route: put {wanted.file} into {cache_folder()}")
    say = progress or _silent
    with _scratch() as scratch:
        delivered = deliver(wanted.fetch, Path(scratch), say)
        _settle(wanted, delivered, Path(scratch), say)
    say(f"{name}: {target}")
    return target


def import_weights(
    path: str | Path,
    *,
    name: str | None = None,
    kind: str = "detector",
    licence: str | None = None,
    source: str | None = None,
    classes: Sequence[int] = (0,),
    trust: bool = False,
) -> WeightCard:
    """Copy a user's weights into the cache folder and give them a card, so that their name finds them.

    A file that a card of Retrace already describes gets that card (and its conversion), whatever its name.

    Args:
        path: A file, an OpenVINO folder, or the `.xml` in one.
        name: Name of the card; None: the file's name without its ending.
        kind: `detector` or `embedder`.
        licence: SPDX expression; None: recorded as not stated.
        source: Where it comes from; None: the path.
        classes: Detector: ids of the classes that are persons (COCO: 0).
        trust: The user vouches for a file that can run code; from then on it loads by its hash.

    Raises:
        MissingWeights: No such file.
        UntrustedWeights: A file that can run code, without a card, and `trust` is not set.
        NotWeights: The file is empty, cut or of a form that is no weights of this kind.
        ValueError: The name is taken by other weights, or is no name.
    """
    path = Path(path).expanduser()
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not path.exists():
        raise MissingWeights(f"no file {path} to import: give the path of a weight file")
    check_form(path, kind)
    digest = weights_sha256(path)
    described = [c for c in list_cards() if digest in (c.sha256, c.fetch.sha256 if c.fetch else None)]
    known = next((c for c in described if name in (None, c.name)), described[0] if described else None)
    if known is not None:
        _check_kind(known, kind)
    else:
        _check_trust(path, digest, kind, trust)
        name = name or (path.name.removesuffix(OPENVINO_ENDING) if path.is_dir() else path.stem)
        if any(name == c.name for c in list_cards()):
            raise ValueError(f"the name {name} belongs to other weights: give another --name")
        known = WeightCard(
            name=name,
            kind=kind,
            file=f"{name}{OPENVINO_ENDING}" if is_openvino(path) else f"{name}{path.suffix.lower()}",
            sha256=digest,
            source=source or f"imported from {path.resolve()}",
            licence=licence or "not stated",
            input="not stated",
            measured="not measured",
            classes=tuple(classes) if kind == "detector" else (),
        )
    with _scratch() as scratch:
        _settle(known, copy_weights(path, Path(scratch)), Path(scratch), _silent)
    return card(known.name)


def _locate(weights: str, cards: list[WeightCard]) -> tuple[Path, WeightCard | None]:
    """Path of the weights, and the card when it was found by a card's name or file name."""
    named = next((c for c in cards if weights == c.name), None)
    given = Path(weights).expanduser()
    if named is None and given.exists():
        return given, None
    named = named or next((c for c in cards if weights == c.file), None)
    file = named.file if named else weights
    if file and file == Path(file).name:
        for folder in (REPOSITORY_FOLDER, cache_folder()):
            if (folder / file).exists():
                return folder / file, named
    raise MissingWeights(_what_is_missing(weights, named, cards))


def _what_is_missing(weights: str, named: WeightCard | None, cards: list[WeightCard]) -> str:
    if named is None:
        names = ", ".join(c.name for c in cards)
        return f"no weights {weights}: give the path of a file that exists, or one of the names {names}"
    here = f"weights {named.name} are missing"
    if named.fetch is None:
        return f"{here}: put {named.file} (sha256 {named.sha256}) into {cache_folder()}"
    here = f"{here}: run `run_pipeline.py weights fetch {named.name}`"
    if named.converter is None:
        return f"{here}, or put {named.file} (sha256 {named.sha256}) into {cache_folder()}"
    original = Path(named.fetch.member).name
    other_way = (
        f"get {original} (sha256 {named.fetch.sha256}) and `run_pipeline.py weights import {original}`"
    )
    return f"{here}, or {other_way}"


def _matching_card(
    path: Path, digest: str, named: WeightCard | None, cards: list[WeightCard]
) -> WeightCard | None:
    """The card that describes a file: by the name it was asked for, else by its hash; None without one."""
    by_hash = next((c for c in cards if c.sha256 == digest), None)
    if by_hash is not None and (named is None or named.sha256 == digest):
        return named or by_hash
    for original in cards:
        if original.converter and original.fetch and original.fetch.sha256 == digest:
            raise NotWeights(
                f"{path} must be converted before use: run `run_pipeline.py weights import {path}` once,"
                f" then give {original.name}"
            )
    expected = named or next((c for c in cards if c.file == path.name), None)
    if expected is None:
        return None
    mend = (
        f"run `run_pipeline.py weights fetch {expected.name} --force`" if expected.fetch else "copy it again"
    )
    raise WeightsMismatch(
        f"{path} is not the file of card {expected.name}: its sha256 is {digest}, expected"
        f" {expected.sha256 or 'that of a conversion on this machine'}; {mend}, or give the file another name"
    )


def _check_kind(known: WeightCard, kind: str) -> None:
    if known.kind != kind:
        raise ValueError(f"{known.name} is weights of a {known.kind}, not of a {kind}")


def _check_trust(path: Path, digest: str, kind: str, trust: bool) -> None:
    if runs_code(path, kind) and not trust:
        raise UntrustedWeights(
            f"{path} (sha256 {digest}) has no card, and a {path.suffix} file can run code when it is loaded:"
            " give it as ONNX or OpenVINO, or add --trust-weights if you know where it comes from"
        )


def _settle(wanted: WeightCard, delivered: Path, scratch: Path, say: Callable[[str], None]) -> None:
    """Convert what was delivered if its card says so, record its hash, move it to its place in one step."""
    if wanted.converter == "yolov5" and weights_sha256(delivered) != wanted.sha256:
        from models import yolov5  # PyTorch is needed here alone

        say(f"{wanted.name}: converting to {wanted.file}")
        converted = scratch / wanted.file
        yolov5.convert(delivered, converted)
        delivered = converted
    published = (REPOSITORY_FOLDER / f"{wanted.name}.json").exists()
    if not published or wanted.converter is not None:
        # The card first: after a crash in between, the weights are missing or stale, and a fetch mends both.
        write_card(dataclasses.replace(wanted, sha256=weights_sha256(delivered)), cache_folder())
    target = cache_folder() / wanted.file
    if target.is_dir():
        shutil.rmtree(target)
    delivered.replace(target)


def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder inside the cache folder, so that the last move stays on one disk."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".part-", dir=cache_folder())


def _silent(_: str) -> None:
    """Progress nobody asked for."""
