"""Clip embedders: one file each, chosen by file name."""
