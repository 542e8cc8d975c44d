"""States of bowl-shaped molecules in a scanning tunnelling image: a network on each, then a field over neighbours.

    python examples/buckybowls.py [FIGURE]

draws molecules that open up or down and are turned four ways, in domains, trains a small network on drawn molecules in
no order, reads the states with it and with a Markov random field learnt from the image, and writes buckybowls.png, or
FIGURE. About ten seconds. Seeded.
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from picostem.atoms.scanned import match
from picostem.bench.atoms_buckybowls import (
    PIXEL_SIZE,
    SPACING,
    TURNS,
    Reading,
    Score,
    ordered_scan,
    read,
    score,
    trained,
)
from picostem.simulate.stm import StmScan

NOISE, SIDE = 0.9, 400
SCANS = 6  # that the network learns from
COLOURS = np.array(["#FA5252", "#228BE6", "#40C057", "#FAB005"])  # of turns
BINS = 10


def main(path: str) -> None:
    """Train, read, print and draw."""
    learning, drawing = np.random.default_rng(2).spawn(2)
    net = trained(NOISE, SCANS, SIDE, learning)
    scan = ordered_scan(NOISE, SIDE, drawing)
    reading = read(scan, net)
    right = score(NOISE, [scan], [reading])
    print(f"{right.molecules} molecules, noise {NOISE:g} of the surface's rms; of eight states are right")
    print(f"network alone      {100 * right.alone:.1f} %, calibration error {right.alone_ece:.3f}")
    print(f"with learnt field  {100 * right.field:.1f} %, calibration error {right.field_ece:.3f}")
    print(f"with the true one  {100 * right.known:.1f} %")
    draw(scan, reading, right).savefig(path, dpi=130)
    print(f"wrote {path}")


def draw(scan: StmScan, reading: Reading, right: Score) -> Figure:
    """The scan, states by the network and with the field, and how often they are right for how sure they are."""
    figure = Figure(figsize=(18.0, 5.2), layout="constrained")
    image, alone, together, sure = figure.subplots(1, 4)
    mine, true = match(reading.place, scan.place, 0.35 * SPACING / PIXEL_SIZE)
    state = scan.sites.state[true]
    low, high = np.quantile(scan.heights, [0.005, 0.995])
    image.imshow(scan.heights, cmap="gray", vmin=low, vmax=high)
    image.set(title="scan")
    for ax, name, p, share in (
        (alone, "network alone", np.exp(reading.evidence), right.alone),
        (together, "with field", reading.belief, right.field),
    ):
        called = p[mine].argmax(axis=1)
        polar, turn = np.divmod(called, TURNS)
        col, row = reading.place[mine, 1], reading.place[mine, 0]
        for down, marker in ((False, "o"), (True, "s")):
            some = (polar == 1) == down
            ax.scatter(col[some], row[some], c=COLOURS[turn[some]], s=26, marker=marker, lw=0)
        wrong = called != state
        ax.scatter(col[wrong], row[wrong], s=60, fc="none", ec="black", lw=1.2)
        ax.set(title=f"{name}: {share:.1%} right", xlim=(0, SIDE), ylim=(SIDE, 0), aspect="equal")
        sure.plot(*reliability(p[mine], called == state), "o-", label=name)
    for ax in (image, alone, together):
        ax.set(xticks=[], yticks=[])
    marks = [Line2D([], [], ls="", marker="o", color=c, label=f"{30 * k}°") for k, c in enumerate(COLOURS)]
    marks += [Line2D([], [], ls="", marker=m, color="gray", label=name) for m, name in (("o", "up"), ("s", "down"))]
    marks.append(Line2D([], [], ls="", marker="o", mfc="none", color="black", label="wrong"))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    sure.plot([0, 1], [0, 1], color="gray", lw=0.8)
    sure.set(xlabel="probability of the state called", ylabel="share right", xlim=(0.2, 1.02), ylim=(0, 1.02))
    sure.legend(frameon=False)
    return figure


def reliability(p: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean probability and share right of bins with ten calls or more."""
    best = p.max(axis=1)
    number = np.minimum((best * BINS).astype(int), BINS - 1)
    bins = [number == k for k in range(BINS) if np.sum(number == k) >= 10]
    return np.array([best[one].mean() for one in bins]), np.array([right[one].mean() for one in bins])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "buckybowls.png")
