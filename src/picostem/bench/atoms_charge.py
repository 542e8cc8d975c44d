"""Charge around the sites of an oxide surface: planted dipoles and quadrupoles against those read from one scan.

A square lattice of sites is scanned by a blunt, oblong, double tip, with drift, tilt, white noise, 1/f noise, offsets
of rows, and streaks. Charge is ordered in a wave over the surface, and random at each site beside it. The joint fit of
`picostem.atoms.charge` is told the spacing, to a tenth, and nothing else; image moments, the plain shape descriptors,
are given the lattice that it found. The surface is drawn, not calculated: no microscope's image has a known truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.charge import Charges, fit_charges, moments
from picostem.atoms.scanned import fit_lattice, locate_sites, match
from picostem.bench.table import Table, number, percent
from picostem.simulate.stm import Sites, StmScan, StmSettings, Tip, lattice_places, scan_surface, with_noise

ComplexArray = NDArray[np.complex128]

SPACING = 3.9  # Å, of a perovskite's surface
TOLD = 1.1  # times the spacing: what the estimator is told
PIXEL_SIZE, SIDE = 0.35, 192  # Å, pixels
HEIGHT, WIDTH = 0.3, 0.95  # Å, of a site
WAVE = (0.045, 0.02)  # 1/Å, of the ordered charge
ORDERED, RANDOM = (0.2, 0.12), (0.08, 0.05)  # of dipoles and quadrupoles: amplitude of the wave, rms at random
TIP = Tip(width=0.5, elongation=1.3, direction=0.6, further=((0.9, 0.7, 0.15),))
DRIFT = ((1.01, 0.015), (-0.01, 0.99))
TILT = (0.004, -0.002)
STREAKS = 0.1  # per row
NOISES = (0.05, 0.1, 0.2, 0.4, 0.8)  # rms of white and 1/f noise and rows' offsets over that of the surface
SHARES = 0.5, 0.75, 0.43  # of white noise, 1/f noise and rows' offsets in these: their squares make one
NEAR = 0.4  # of the spacing: where a site found is a true one
WITHIN = 1.96  # standard errors
HEAD = ("noise/surface", "sites", "|ρ| dipole", "quadrupole", "moments: dipole", "quadrupole", "rms/σ", "in 95 %")


@dataclass(frozen=True)
class Score:
    """One scan.

    Attributes:
        noise: its rms over that of the surface. sites: that were compared. dipole, quadrupole: correlation of both
            components with the planted ones. moments_dipole, moments_quadrupole: the same of image moments.
        slope: of the truth against what was read, of dipoles; the tip's bluntness is in it. rms: of what was read less
            the truth seen through the tip, in standard errors. within: share of that below 1.96.
    """

    noise: float
    sites: int
    dipole: float
    quadrupole: float
    moments_dipole: float
    moments_quadrupole: float
    slope: float
    rms: float
    within: float

    @property
    def row(self) -> tuple[str, ...]:
        """Of a table."""
        shares = (self.dipole, self.quadrupole, self.moments_dipole, self.moments_quadrupole)
        return (
            f"{self.noise:g}",
            str(self.sites),
            *(number(one, 3) for one in shares),
            number(self.rms, 2),
            percent(self.within),
        )


@dataclass(frozen=True)
class ChargeReport:
    """All scans."""

    scores: tuple[Score, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """One line for each noise."""
        return [Table("Charge around sites, planted against read", HEAD, tuple(one.row for one in self.scores))]


def measure(
    noises: Sequence[float] = NOISES,
    *,
    side: int = SIDE,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> ChargeReport:
    """A scan at each noise.

    Args:
        noises: rms over that of the surface. side: of the image, pixels. seed: of surfaces and noise.
        progress: called with the noise, how many are done, and all.

    Raises:
        ImageError: no lattice was found in a scan.
    """
    scores = []
    for index, (noise, rng) in enumerate(zip(noises, np.random.default_rng(seed).spawn(len(noises)), strict=True)):
        if progress is not None:
            progress(f"noise {noise:g}", index, len(noises))
        scan = charged_surface(noise, side, rng)
        lattice = fit_lattice(locate_sites(scan.heights, told()), scan.heights.shape, told())
        found = fit_charges(scan.heights, lattice)
        scores.append(score(noise, scan, found, moments(scan.heights, lattice)[1:]))
    return ChargeReport(tuple(scores))


def told() -> float:
    """Spacing of sites that the estimator is told, pixels."""
    return TOLD * SPACING / PIXEL_SIZE


def charged_surface(noise: float, side: int, rng: np.random.Generator) -> StmScan:
    """A scan with charge that is ordered in a wave and random beside it; `noise` over the surface, both rms."""
    field = 1.1 * side * PIXEL_SIZE + 4 * SPACING
    place = lattice_places(SPACING * np.eye(2), (field, field))
    n = len(place)
    phase = 2 * np.pi * place @ WAVE
    parts = [
        ordered * np.cos(phase + k) * np.exp(1j * (0.5 + k))
        + chance / np.sqrt(2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
        for k, (ordered, chance) in enumerate(zip(ORDERED, RANDOM, strict=True))
    ]
    alike = np.ones(n)
    sites = Sites(place, HEIGHT * alike, WIDTH * alike, 0 * alike, np.column_stack(parts), np.zeros(n, dtype=np.int64))
    still = scan_surface(sites, TIP, StmSettings(drift=DRIFT), (side, side), PIXEL_SIZE, rng)
    rms = noise * float(still.heights.std())
    settings = StmSettings(
        noise=SHARES[0] * rms,
        pink=SHARES[1] * rms,
        line_offset=SHARES[2] * rms,
        streaks=STREAKS,
        streak_height=2 * float(still.heights.std()),
        tilt=TILT,
    )
    return with_noise(still, settings, rng)


def score(noise: float, scan: StmScan, found: Charges, shapes: tuple[ComplexArray, ComplexArray]) -> Score:
    """What was read of the sites beside what was planted; shapes: moments of the same sites."""
    mine, true = match(found.place, scan.place, NEAR * SPACING / PIXEL_SIZE)
    planted = scan.sites.lobes[true]
    dipole, quadrupole = found.dipole[mine], found.quadrupole[mine]
    pulls, slopes = [], []
    for k, (read, sigma) in enumerate(((dipole, found.dipole_sigma[mine]), (quadrupole, found.quadrupole_sigma[mine]))):
        truth = planted[:, k] - planted[:, k].mean()
        slopes.append(float(np.vdot(read, truth).real / np.vdot(read, read).real))
        pull = (read - truth / slopes[k]) / sigma
        pulls += [pull.real, pull.imag]
    pull = np.concatenate(pulls)
    return Score(
        noise,
        len(mine),
        correlation(dipole, planted[:, 0]),
        correlation(quadrupole, planted[:, 1]),
        correlation(shapes[0][mine], planted[:, 0]),
        correlation(shapes[1][mine], planted[:, 1]),
        slopes[0],
        float(np.sqrt(np.mean(pull**2))),
        float(np.mean(np.abs(pull) < WITHIN)),
    )


def correlation(a: ComplexArray, b: ComplexArray) -> float:
    """Pearson's, of real and imaginary parts together, each less its mean."""
    first, second = (np.concatenate([(one - one.mean()).real, (one - one.mean()).imag]) for one in (a, b))
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))
