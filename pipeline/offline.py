"""Ultralytics installs packages, downloads weights and sends usage reports on its own: here it may not."""

from __future__ import annotations

import os
import sys


def keep_ultralytics_offline() -> None:
    """Set its switches; must be called before the first `import ultralytics` of the process."""
    loaded = sys.modules.get("ultralytics.utils")
    if loaded is not None and loaded.AUTOINSTALL:
        raise RuntimeError("ultralytics was imported before it was kept offline: import it through Retrace")
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_VERBOSE"] = "false"  # it logs to standard output, where our JSON goes
