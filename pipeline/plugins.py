"""Plug-ins: the file name is the registry.

`{name: yolo, confidence: 0.4}` of kind "detectors" loads `pipeline/detectors/yolo.py`, which defines
`Config` (pydantic, unknown keys are errors) and `build(config, ...)`. A plug-in imports its heavy
libraries inside `build`, so that naming one costs nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["detectors", "trackers", "embedders"]


class UnknownPlugin(ValueError):
    """No plug-in of that name; the message lists the ones there are."""


class PluginSettings(BaseModel):
    """`name` and whatever the plug-in's own `Config` takes."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    def options(self) -> dict[str, Any]:
        """The settings without the name."""
        return dict(self.__pydantic_extra__ or {})

    def updated(self, **options: Any) -> PluginSettings:
        """A copy with those options set; `None` leaves an option as it is."""
        given = {key: value for key, value in options.items() if value is not None}
        return PluginSettings.model_validate({"name": self.name} | self.options() | given)


def available(kind: Kind) -> list[str]:
    """Names of the plug-ins of a kind, sorted."""
    package = importlib.import_module(f"pipeline.{kind}")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in names if not name.startswith("_"))


def load(kind: Kind, name: str) -> ModuleType:
    """Import a plug-in. An ImportError inside it is shown as it is.

    Raises:
        UnknownPlugin: there is no such file.
    """
    names = available(kind)
    if name not in names:
        raise UnknownPlugin(f"no {kind.removesuffix('s')} named '{name}'; there are: {', '.join(names)}")
    return importlib.import_module(f"pipeline.{kind}.{name}")


def parse(kind: Kind, settings: PluginSettings) -> BaseModel:
    """Check a plug-in's settings against its `Config`."""
    config: BaseModel = load(kind, settings.name).Config.model_validate(settings.options())
    return config


def build(kind: Kind, settings: PluginSettings, **context: Any) -> Any:
    """Load a plug-in and call its `build(config, **context)`."""
    module = load(kind, settings.name)
    return module.build(parse(kind, settings), **context)
