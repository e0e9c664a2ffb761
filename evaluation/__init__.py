"""Measures: CMC and mAP, tracking metrics, end-to-end runs."""
