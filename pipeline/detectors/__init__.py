"""Person detectors: one file each, chosen by file name."""
