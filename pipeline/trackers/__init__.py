"""Multi-object trackers: one file each, chosen by file name."""
