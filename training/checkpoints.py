"""The state of a run on disk: written whole or not at all, read without running code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

FORMAT = 1
FILE = "checkpoint.pt"


def save_state(state: dict[str, Any], folder: Path) -> None:
    """Replace a run's checkpoint.

    Args:
        state: Tensors, numbers, strings, None, lists and dicts; nothing else could be read again.
        folder: Of the run.
    """
    part = folder / f"{FILE}.part"
    try:
        with part.open("wb") as file:
            torch.save({"format": FORMAT} | state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / FILE)
    finally:
        part.unlink(missing_ok=True)


def load_state(folder: Path) -> dict[str, Any] | None:
    """A run's checkpoint, on the CPU; None where there is none yet.

    Raises:
        ValueError: The file is damaged, or of another version.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged: delete it to begin the run anew") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path} is of another version of Retrace: give --output a new folder")
    return state
