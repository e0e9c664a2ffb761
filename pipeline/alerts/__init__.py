"""The watch list at work: new tracklets are compared with it, and matches are told to webhooks."""

from pipeline.alerts.deliverer import Deliverer
from pipeline.alerts.matcher import Matcher

__all__ = ["Deliverer", "Matcher"]
