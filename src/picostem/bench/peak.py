"""Resolve one image in a process of its own, and print what it took: python -m picostem.bench.peak FILE MATERIAL."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from picostem.pipeline import resolve


def peak_memory() -> int | None:
    """Largest memory that this process has held, bytes; None where the system does not say.

    Not `resource.getrusage`, which on Linux begins with what the parent process held.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main(path: str, material: str) -> None:
    """Resolve, and print seconds, bytes, verdict and number of windows as JSON."""
    start = time.perf_counter()
    result = resolve(path, material)
    took = {
        "seconds": time.perf_counter() - start,
        "bytes": peak_memory(),
        "verdict": result.verdict,
        "windows": len(result.map) if result.map is not None else 0,
    }
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
