"""What a run leaves to read: `log.csv`, `evaluations.csv` and TensorBoard's event file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

METRICS = ("loss", "identity", "triplet", "contrastive", "relational", "direct", "accuracy")
LOG_COLUMNS = ("step", "stage", "lr", *METRICS, "seconds", "crops_per_s")
_SCORES = ("rank1", "rank5", "rank10", "rank20", "mAP")
EVALUATION_COLUMNS = ("step", "set", "height", "width", *_SCORES, "seconds")


class TrainingLogs:
    """Adds lines to the logs of a run; a context manager.

    Lines after `step` are of a run that was cut off after its last checkpoint; they are removed, as those
    steps are done again.

    Args:
        folder: Of the run.
        step: Steps done when the logs are opened.
        tensorboard: Write events as well.

    Raises:
        ImportError: TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool) -> None:
        self._log, self._evaluations = folder / "log.csv", folder / "evaluations.csv"
        self._events: Any = _event_writer(folder, step) if tensorboard else None
        _cut(self._log, LOG_COLUMNS, step)
        _cut(self._evaluations, EVALUATION_COLUMNS, step)

    def __enter__(self) -> TrainingLogs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events is not None:
            self._events.close()

    def add_steps(self, values: Mapping[str, Any]) -> None:
        """A line of `log.csv`: the means since the line before."""
        _append(self._log, LOG_COLUMNS, values)
        self._add_events("train", values, LOG_COLUMNS[2:])

    def add_evaluation(self, values: Mapping[str, Any]) -> None:
        """A line of `evaluations.csv`."""
        _append(self._evaluations, EVALUATION_COLUMNS, values)
        self._add_events(f"evaluation/{values['set']}", values, _SCORES)

    def _add_events(self, group: str, values: Mapping[str, Any], names: tuple[str, ...]) -> None:
        if self._events is not None:
            for name in names:
                self._events.add_scalar(f"{group}/{name}", values[name], values["step"])


def _event_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoard is not installed: pip install 'retrace-reid[train]', or pass --no-tensorboard"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def _cut(path: Path, columns: tuple[str, ...], step: int) -> None:
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            # A line that was cut off while it was written has no last column.
            rows = [row for row in csv.DictReader(file) if row[columns[-1]] and int(row["step"]) <= step]
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def _append(path: Path, columns: tuple[str, ...], values: Mapping[str, Any]) -> None:
    cells = {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in values.items()}
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, columns).writerow(cells)
