"""How fast centres of mass are, beside reading the same memory; how long a training takes; memory on a large file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.stem4d_toy import Plan, learned
from picostem.bench.table import Table, number
from picostem.errors import DataError
from picostem.stem4d.moments import accumulate
from picostem.stem4d.scan import Scan4D

Progress = Callable[[str, int, int], None]

DTYPES = ("uint8", "uint16", "float32")
SIDE = 256
"""Pixels of a pattern."""
MEGABYTES, ROUNDS = 512, 15
THREADS = 2
GIGABYTES = (1, 16)
SPEED_HEAD = ("patterns", "centres of mass GB/s", "reading memory GB/s", "share")
MEMORY_HEAD = ("file", "peak memory MB", "seconds")
PROBE = """
import json, sys, time
from picostem.bench.peak import peak_memory
from picostem.files.scan4d import read_scan
from picostem.stem4d.com import centre_of_mass
start = time.perf_counter()
centre_of_mass(read_scan(sys.argv[1]))
print(json.dumps([peak_memory(), time.perf_counter() - start]))
"""


@dataclass(frozen=True)
class Rate:
    """GB/s of centres of mass and of reading the same memory with two threads, the best of several rounds."""

    dtype: str
    com: float
    read: float


@dataclass(frozen=True)
class SpeedReport:
    """Rates, and seconds of a training of the autoencoder on 4096 patterns of 64² (from patterns to model)."""

    rates: tuple[Rate, ...]
    training_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """Rates, with the training in the title."""
        rows = tuple(
            (one.dtype, number(one.com, 2), number(one.read, 2), number(one.com / one.read, 2)) for one in self.rates
        )
        title = f"Centres of mass of {SIDE}² patterns; training of the autoencoder {self.training_seconds:.0f} s"
        return [Table(title, SPEED_HEAD, rows)]


@dataclass(frozen=True)
class Peak:
    """Centres of mass of a file of so many GB (10⁹ bytes): largest memory of the process, bytes, and seconds."""

    gigabytes: float
    bytes: int | None
    seconds: float


@dataclass(frozen=True)
class MemoryReport:
    """One process for each file."""

    peaks: tuple[Peak, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """One line for each file."""
        rows = tuple(
            (
                f"{one.gigabytes:.2g} GB",
                number(None if one.bytes is None else one.bytes / 1e6, 0),
                number(one.seconds, 0),
            )
            for one in self.peaks
        )
        return [Table("Centres of mass of sparse npy files", MEMORY_HEAD, rows)]


def measure(
    plan: Plan | None = None, *, megabytes: int = MEGABYTES, rounds: int = ROUNDS, progress: Progress | None = None
) -> SpeedReport:
    """Rates for every type of numbers, and one training.

    Raises:
        UsageError: torch is not installed.
    """
    rates = []
    for index, dtype in enumerate(DTYPES):
        if progress is not None:
            progress(f"centres of mass, {dtype}", index, len(DTYPES) + 1)
        rates.append(rate(dtype, megabytes, rounds))
    if progress is not None:
        progress("training", len(DTYPES), len(DTYPES) + 1)
    return SpeedReport(tuple(rates), learned(plan or Plan(), 0).seconds)


def rate(dtype: str, megabytes: int, rounds: int) -> Rate:
    """Centres of mass and plain reading in turns, so that whatever else the machine does slows both."""
    columns = max(1, int(megabytes * 1e6 / (SIDE**2 * np.dtype(dtype).itemsize * 16)))
    data = np.random.default_rng(0).integers(0, 9, (16, columns, SIDE, SIDE), np.uint8).astype(dtype)
    scan, best = Scan4D.of(data), [np.inf, np.inf]
    with ThreadPoolExecutor(THREADS) as pool:
        halves = np.array_split(data.ravel().view(np.uint64), THREADS)
        jobs: list[Callable[[], object]] = [lambda: accumulate(scan), lambda: list(pool.map(_read, halves))]
        for _ in range(rounds):
            for index, job in enumerate(jobs):
                start = time.perf_counter()
                job()
                best[index] = min(best[index], time.perf_counter() - start)
    return Rate(dtype, data.nbytes / best[0] / 1e9, data.nbytes / best[1] / 1e9)


def _read(numbers: NDArray[np.uint64]) -> int:
    return int(np.bitwise_or.reduce(numbers))


def measure_memory(gigabytes: tuple[float, ...] = GIGABYTES, *, progress: Progress | None = None) -> MemoryReport:
    """Files without contents, which take no room on most disks, each read in a process of its own.

    Raises:
        DataError: the process failed.
    """
    peaks = []
    for index, size in enumerate(gigabytes):
        if progress is not None:
            progress(f"{size:g} GB", index, len(gigabytes))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "sparse.npy"
            rows = max(1, round(size * 1e9 / (512 * SIDE**2)))
            np.lib.format.open_memmap(file, "w+", np.uint8, (rows, 512, SIDE, SIDE))
            peaks.append(Peak(rows * 512 * SIDE**2 / 1e9, *_probed(file)))
    return MemoryReport(tuple(peaks))


def _probed(file: Path) -> tuple[int | None, float]:
    ended = subprocess.run([sys.executable, "-c", PROBE, str(file)], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise DataError(f"centres of mass of a large file failed: {ended.stderr.strip().splitlines()[-1:]}")
    peak, seconds = json.loads(ended.stdout)
    return peak, seconds
