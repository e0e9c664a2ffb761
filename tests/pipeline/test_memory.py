"""Large blocks go back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Large blocks are freed in between small ones that stay, as pictures between crops.
CHURN = """
import sys
sys.path.insert(0, {root!r})
from pipeline.memory import return_large_blocks
if {fixed}:
    return_large_blocks()
kept = []
for i in range(500):
    large = [bytearray(1_500_000 + 40_000 * ((i + j) % 9)) for j in range(8)]
    kept.append(bytes(30_000))
    del large[::2]
    kept.append(bytes(30_000))
    del large
    kept = kept[-600:]
for line in open("/proc/self/smaps"):
    if "[heap]" in line:
        heap = True
    elif line[0].isdigit() or line[0] in "abcdef":
        heap = False
    elif line.startswith("Rss:") and heap:
        print(int(line.split()[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap is looked at in Linux' /proc")
def test_large_blocks_never_make_the_heap_grow() -> None:
    def heap_mb(fixed: bool) -> float:
        script = "heap = False\n" + CHURN.format(root=str(ROOT), fixed=fixed)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return sum(map(int, done.stdout.split())) / 1024

    assert heap_mb(fixed=True) < 40  # the small ones alone are 18 MB
    assert heap_mb(fixed=False) > heap_mb(fixed=True)
