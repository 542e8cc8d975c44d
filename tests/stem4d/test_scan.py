"""Scans read block by block: every pattern once, as stored, in little memory; vectors and centres by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import DataError, UsageError
from picostem.stem4d.scan import Detector, Scan4D

SHAPE = (5, 7, 6, 8)


@pytest.fixture
def counts() -> NDArray[np.uint16]:
    return np.random.default_rng(3).integers(0, 60_000, SHAPE).astype(np.uint16)


def stored(kind: str, counts: NDArray[Any], folder: Path) -> Any:
    """The same numbers as each of the things that a scan can be made of."""
    if kind == "array":
        return counts
    if kind == "fortran":
        return np.asfortranarray(counts)
    if kind == "memmap":
        np.save(folder / "a.npy", counts)
        return np.load(folder / "a.npy", mmap_mode="r")
    if kind == "hdf5":
        return h5py.File(folder / "a.h5", "w").create_dataset("a", data=counts, chunks=(2, 3, 6, 8))
    import dask.array as da

    return da.from_array(counts, chunks=(2, 3, 6, 8))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("megabytes", [1e-6, 5e-4, 3e-3, 64])
@pytest.mark.parametrize("kind", ["array", "fortran", "memmap", "hdf5", "dask"])
def test_blocks_give_every_pattern_once(
    kind: str, megabytes: float, counts: NDArray[np.uint16], tmp_path: Path
) -> None:
    scan = Scan4D.of(stored(kind, counts, tmp_path))
    blocks = list(scan.blocks(megabytes))
    assert [where.start for where, _ in blocks] == [0, *(where.stop for where, _ in blocks[:-1])]
    assert all(patterns.dtype == np.uint16 and len(patterns) == w.stop - w.start for w, patterns in blocks)
    assert max(patterns.nbytes for _, patterns in blocks) <= max(1e6 * megabytes, counts[0, 0].nbytes)
    assert np.array_equal(np.concatenate([patterns for _, patterns in blocks]), counts.reshape(-1, 6, 8))


def test_blocks_hold_whole_pieces_of_the_file(counts: NDArray[np.uint16], tmp_path: Path) -> None:
    scan = Scan4D.of(stored("hdf5", counts, tmp_path))
    three_rows = 3 * counts[0].nbytes / 1e6
    assert [where.stop for where, _ in scan.blocks(three_rows)] == [14, 28, 35]  # pieces of two rows


def test_memory_maps_are_not_copied(counts: NDArray[np.uint16], tmp_path: Path) -> None:
    data = stored("memmap", counts, tmp_path)
    assert all(np.shares_memory(patterns, data) for _, patterns in Scan4D.of(data).blocks(1e-3))


MEASURE = """
import itertools, resource, sys, numpy as np
from picostem.stem4d.scan import Scan4D
scan = Scan4D.of(np.load(sys.argv[1], mmap_mode="r"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(int(patterns[:, ::64, 0].sum()) for _, patterns in itertools.islice(scan.blocks(16), 30))
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
"""Maps the first 335 MB, which stay in memory if they are not let go of."""


@pytest.mark.skipif(sys.platform != "linux", reason="counts kB as Linux does")
def test_memory_stays_flat_over_a_file_of_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "sparse.npy"
    data = np.lib.format.open_memmap(path, "w+", np.uint16, (64, 64, 512, 512))
    data[8, 20, 64, 0] = 7
    data.flush()
    del data
    assert path.stat().st_size > 2**31
    out = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    total, kilobytes = map(int, out.stdout.split())
    assert total == 7
    assert kilobytes < 40_000  # a block is 16 MB


def test_vectors_by_hand() -> None:
    """x right, y up: a pixel to the right of the centre has kx > 0, one above it (a lower row) ky > 0."""
    detector = Detector.plain((3, 5))
    vectors = detector.vectors()
    assert vectors.shape == (3, 5, 2)
    assert vectors[1, 3].tolist() == [1, 0]
    assert vectors[0, 2].tolist() == [0, 1]
    oblong = replace(detector, matrix=np.array([[0.0, 0.02], [-0.01, 0.0]]), centre=(0.5, 2.0), unit="1/Å")
    assert oblong.vectors()[2, 4] == pytest.approx([0.04, -0.015])


def test_milliradians() -> None:
    """60 kV: lambda = 0.04866 Å (textbooks), so 1/Å is 48.66 mrad."""
    detector = replace(Detector.plain((4, 4), 60e3), unit="1/Å")
    assert detector.mrad == pytest.approx(48.66, abs=5e-3)
    assert replace(detector, voltage_eV=None).mrad is None
    assert replace(detector, unit="px").mrad is None


def test_centres_follow_the_descan(counts: NDArray[np.uint16]) -> None:
    scan = replace(Scan4D.of(counts), descan=np.array([[0.5, 0.1, 0.0], [0.0, 0.0, -0.2]]))
    centres = scan.centres()
    assert centres.shape == (35, 2)
    assert centres[2 * 7 + 3] == pytest.approx([2.5 + 0.5 + 0.2, 3.5 - 0.6])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((3, 4, 5)), "four axes"),
        (np.zeros((3, 0, 4, 4)), "empty"),
        (np.zeros((2, 2, 2, 2), complex), "real numbers"),
        ([[1]], "numpy.asarray"),
    ],
)
def test_what_is_no_scan_is_refused(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Scan4D.of(data)


@pytest.mark.parametrize(
    "change",
    [
        {"step_A": (0.0, 1.0)},
        {"step_A": (1.0, math.inf)},
        {"descan": np.zeros((3, 2))},
        {"detector": Detector.plain((4, 4))},
    ],
)
def test_calibrations_that_do_not_fit_are_refused(change: dict[str, Any], counts: NDArray[np.uint16]) -> None:
    with pytest.raises(UsageError):
        replace(Scan4D.of(counts), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"matrix": np.ones((2, 2))},
        {"matrix": np.full((2, 2), np.nan)},
        {"mask": np.ones((2, 2), bool)},
        {"mask": np.ones((4, 4))},
        {"mask": np.zeros((4, 4), bool)},
        {"centre": (np.nan, 0.0)},
        {"unit": "mrad"},
        {"voltage_eV": -1.0},
        {"shape": (4, 0)},
    ],
)
def test_detectors_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(Detector.plain((4, 4)), **change)
