"""Centres of mass against sums written out in double precision, and their signs against planted shifts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from picostem.bench.table import Table
from picostem.physics import DEGREE, FloatArray
from picostem.simulate.toy4d import EDGE
from picostem.stem4d.com import centre_of_mass
from picostem.stem4d.scan import Detector, Scan4D
from picostem.structure import rotation_matrix

DTYPES = (("uint8", 100.0), ("uint16", 3e4), ("uint32", 1e8), ("float32", 1.0), ("float64", 1.0))
"""Types of numbers, and the largest number less one."""
SHIFTS = ((0.0, 0.0), (3.0, 0.0), (0.0, 2.0), (-1.3, 0.7), (0.25, -2.6))
"""Pixels to the right and up."""
TURN = 30 * DEGREE
"""Of the detector against the scan."""
RADIUS = 9.0
"""Of the disk that is shifted, pixels."""
HEAD = ("numbers", "largest difference from double precision, pixels")
SIGN_HEAD = ("detector", "largest difference from the planted shift, pixels")


@dataclass(frozen=True)
class AgreementReport:
    """Largest differences: of (row, column) from the oracle by type of numbers, and of (kx, ky) from shifts by how the
    detector lies, pixels."""

    oracle: dict[str, float]
    shifts: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """Both."""
        title = "Centres of mass against sums in double precision"
        signs = Table(
            "Disks moved right and up, kx and ky", SIGN_HEAD, tuple((k, f"{v:.1e}") for k, v in self.shifts.items())
        )
        return [Table(title, HEAD, tuple((k, f"{v:.1e}") for k, v in self.oracle.items())), signs]


def measure(*, seed: int = 0, shape: tuple[int, int, int, int] = (12, 11, 96, 128)) -> AgreementReport:
    """Random numbers of some shape, and a disk with known shifts."""
    rng = np.random.default_rng(seed)
    oracle = {name: _difference((1 + most * rng.random(shape)).astype(name)) for name, most in DTYPES}
    plain = Detector.plain((64, 72))
    flipped = replace(plain, matrix=plain.matrix @ np.diag([-1.0, 1.0]))
    turned = replace(plain, matrix=rotation_matrix(TURN) @ plain.matrix)
    lying = {"as it is": plain, "rows flipped": flipped, f"turned by {TURN / DEGREE:.0f}°": turned}
    return AgreementReport(oracle, {name: _shifted(detector) for name, detector in lying.items()})


def naive(data: FloatArray) -> FloatArray:
    """(row, column) of the centre of mass of each pattern, as its definition says."""
    place = np.moveaxis(np.indices(data.shape[2:], float), 0, -1)
    return np.asarray(np.einsum("ijrc,rcd->ijd", data, place) / data.sum(axis=(2, 3))[..., None])


def _difference(data: np.ndarray[Any, Any]) -> float:
    return float(np.abs(centre_of_mass(Scan4D.of(data)).pixels - naive(data.astype(np.float64))).max())


def _shifted(detector: Detector) -> float:
    """A disk with a soft edge at each of SHIFTS in the frame of the scan, seen by a detector that may lie otherwise."""
    vectors = detector.vectors()
    away = np.linalg.norm(vectors[None] - np.array(SHIFTS)[:, None, None], axis=-1)
    edge = RADIUS * EDGE * 4  # soft enough for the pixels' sums to be integrals
    disk = 1 / (1 + np.exp((away - RADIUS) / edge))
    found = centre_of_mass(Scan4D.of(disk[None], detector=detector)).vectors[0]
    return float(np.abs(found - SHIFTS).max())
