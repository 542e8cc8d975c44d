"""Charge around the sites of an oxide surface, read from one scanning tunnelling image.

    python examples/oxide_charge.py [FIGURE]

draws a surface with charge that is ordered in a wave and random beside it, scans it with a blunt double tip and the
noise of a scan, reads dipole and quadrupole of each site, and writes oxide_charge.png, or FIGURE. Some seconds. Seeded.
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure

from picostem.atoms.charge import Charges, read_charges
from picostem.atoms.scanned import levelled, match
from picostem.bench.atoms_charge import SPACING, WAVE, charged_surface, correlation, told
from picostem.simulate.stm import StmScan

NOISE = 0.2  # rms over that of the surface
SIDE = 192
ARROW = 55.0  # pixels for a dipole of 1


def main(path: str) -> None:
    """Scan, read, print and draw."""
    scan = charged_surface(NOISE, SIDE, np.random.default_rng(0))
    found = read_charges(scan.heights, told())
    mine, true = match(found.place, scan.place, 3.0)
    planted = scan.sites.lobes[true]
    print(f"{len(found.place)} sites, {len(mine)} of them true ones, noise {NOISE:g} of the surface's rms")
    for name, read, sigma, truth in (
        ("dipole", found.dipole, found.dipole_sigma, planted[:, 0]),
        ("quadrupole", found.quadrupole, found.quadrupole_sigma, planted[:, 1]),
    ):
        print(
            f"{name:10}: rms {np.sqrt(np.mean(np.abs(read) ** 2)):.3f} of the height, known to {np.median(sigma):.3f}, "
            f"correlation with the planted ones {correlation(read[mine], truth):.3f}"
        )
    draw(scan, found, mine, planted).savefig(path, dpi=130)
    print(f"wrote {path}")


def draw(scan: StmScan, found: Charges, mine: np.ndarray[tuple[int]], planted: np.ndarray[tuple[int, int]]) -> Figure:
    """The scan with the dipoles read from it, dipoles along the wave's polarisation, and the truth."""
    figure = Figure(figsize=(15.5, 5.2), layout="constrained")
    image, wave, compared = figure.subplots(1, 3)
    flat = levelled(scan.heights, SPACING / scan.pixel_size)
    image.imshow(flat, cmap="gray", vmin=np.quantile(flat, 0.005), vmax=np.quantile(flat, 0.995))
    row, col = found.place.T
    image.quiver(
        col, row, found.dipole.real, found.dipole.imag, color="#FA5252", angles="uv", pivot="mid",
        scale_units="xy", scale=1 / ARROW, width=0.005,
    )  # fmt: skip
    image.set(title="scan, and the dipoles read from it", xticks=[], yticks=[])
    along = (found.dipole * np.exp(-0.5j)).real
    largest = float(np.quantile(np.abs(along), 0.98))
    points = wave.scatter(col, row, c=along, s=60, cmap="RdBu_r", vmin=-largest, vmax=largest)
    middle, step = (SIDE - 1) / 2, np.array(WAVE) / np.hypot(*WAVE) ** 2 / scan.pixel_size
    wave.annotate("", (middle + step[0], middle - step[1]), (middle, middle), arrowprops={"arrowstyle": "<->", "lw": 2})
    wave.set(title="dipole along 29°; arrow: the planted wave's period", xticks=[], yticks=[], aspect="equal")
    wave.set(xlim=(0, SIDE), ylim=(SIDE, 0))
    figure.colorbar(points, ax=wave, shrink=0.8)
    for k, (read, sigma, name, colour) in enumerate(
        (
            (found.dipole, found.dipole_sigma, "dipole", "#C92A2A"),
            (found.quadrupole, found.quadrupole_sigma, "quadrupole", "#1C7ED6"),
        )
    ):
        for part in (np.real, np.imag):
            compared.errorbar(
                part(planted[:, k]), part(read[mine]), sigma[mine], fmt=".", color=colour, alpha=0.5, lw=0.7, ms=4,
                label=f"{name}, |ρ| = {correlation(read[mine], planted[:, k]):.3f}" if part is np.real else None,
            )  # fmt: skip
    compared.set(xlabel="planted, share of the height", ylabel="read through the tip", title="both components, bars: σ")
    compared.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "oxide_charge.png")
