"""Cameras that never end: streams, their clocks, fair shares, and a run that goes on for months."""
