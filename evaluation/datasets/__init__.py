"""Labelled data sets for training and evaluation: one file each, the file name is the registry."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from evaluation.datasets._types import DatasetError, LabelledTracklet, ReidDataset

__all__ = ["DatasetError", "LabelledTracklet", "ReidDataset", "UnknownDataset", "available", "load"]


class UnknownDataset(ValueError):
    """No data set of that name; the message lists the ones there are."""


def available() -> list[str]:
    """Names of the data sets, sorted."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_"))


def load(name: str, root: Path | str, **options: Any) -> ReidDataset:
    """Read a data set by the name of its file.

    Args:
        name: one of `available()`.
        root: its folder, laid out as the file's docstring says.
        options: what that file's `load` takes beside the root; None leaves a default as it is.

    Raises:
        UnknownDataset: there is no such file.
        DatasetError: the folder is not laid out as the data set is published.
        ValueError: an option is unknown or out of range.
    """
    names = available()
    if name not in names:
        raise UnknownDataset(f"no data set named '{name}'; there are: {', '.join(names)}")
    loader = importlib.import_module(f"evaluation.datasets.{name}").load
    given = {key: value for key, value in options.items() if value is not None}
    known = list(inspect.signature(loader).parameters)[1:]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise ValueError(
            f"the data set {name} takes no '{unknown[0]}', only: {', '.join(known) or 'nothing'}"
        )
    folder = Path(root)
    if not folder.is_dir():
        raise DatasetError(f"{name}: the folder {folder} is not there")
    dataset: ReidDataset = loader(folder, **given)
    return dataset
