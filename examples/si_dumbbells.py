"""Si dumbbells that a moving defect distorts: a movie is made, its dumbbells are found, followed and measured.

    python examples/si_dumbbells.py [FIGURE]

writes si_dumbbells.png, or FIGURE. It takes about half a minute and needs nothing but picostem. Seeded.
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from picostem.atoms.constancy import SIGMAS, Changes, measure_changes
from picostem.atoms.dumbbells import Dumbbells, find_dumbbells
from picostem.atoms.follow import follow
from picostem.atoms.table import AtomTable
from picostem.bench.atoms_dumbbells import PIXEL_SIZE, Crystal, defect_path, recorded
from picostem.image import Image

DOSE = 600.0  # electrons per column
SIDE, FRAMES = 192, 9
SHOWN = (1, 4, 7)  # frames in the figure
LARGEST = 0.3  # Å, at the ends of the colours


def main(path: str) -> None:
    """Make the movie, measure it, print what changed, and draw it."""
    defect = defect_path(FRAMES, SIDE)
    crystal = Crystal.perfect(FRAMES, SIDE).disturbed(defect)
    movie = recorded(crystal.images(SIDE), DOSE, np.random.default_rng(1))

    table = follow(movie)  # or, at higher doses, link([find_atoms(image) for image in movie])
    dumbbells = find_dumbbells(table)
    changes = measure_changes(dumbbells)

    print(f"{len(table)} atoms in {FRAMES} frames, {len(np.unique(dumbbells.number))} dumbbells of")
    print(
        f"{np.median(dumbbells.value[:, 0]):.3f} Å, each known to {np.median(dumbbells.sigma[:, 0]):.3f} Å in a frame"
    )
    for name, of in changes.as_dict().items():
        if isinstance(of, dict):
            print(
                f"{name:9}: {of['smallest_change']:.3f} is 2 sigma; {of['beyond_2_sigma']} of {of['looked_at']} beyond "
                f"({of['by_chance']:.0f} by chance), {of['beyond_threshold']} beyond {changes.threshold:.1f} sigma; "
                f"{of['dumbbells_not_constant']} dumbbells not constant"
            )
    draw(movie, table, dumbbells, changes, defect).savefig(path, dpi=130)
    print(f"wrote {path}")


def draw(
    movie: list[Image], table: AtomTable, dumbbells: Dumbbells, changes: Changes, defect: np.ndarray[tuple[int, int]]
) -> Figure:
    """Frames with dumbbells in the colour of how much longer they are, and the lengths of the one that changes most."""
    figure = Figure(figsize=(13.0, 8.2), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.45, 1.0))[:, 0]
    axes = above.subplot_mosaic([["0", "1", "2"]]) | below.subplot_mosaic([["t", "t", "h"]])
    middle = (SIDE - 1) / 2
    norm = TwoSlopeNorm(0.0, -LARGEST, LARGEST)
    for panel, frame in zip("012", SHOWN, strict=True):
        ax, mine = axes[panel], np.flatnonzero(dumbbells.frame == frame)
        ax.imshow(
            movie[frame].data, cmap="gray", vmin=-0.25 * movie[frame].data.max(), vmax=1.3 * movie[frame].data.max()
        )
        ends = np.stack([table.col, table.row], axis=1)[dumbbells.atoms[mine]]
        lines = LineCollection(list(ends), cmap="RdBu_r", norm=norm, linewidths=5, capstyle="round")
        lines.set_array(changes.deviation[mine, 0])
        ax.add_collection(lines)
        sure = mine[np.abs(changes.z[mine, :2]).max(axis=1) > changes.threshold]
        ax.scatter(dumbbells.col[sure], dumbbells.row[sure], s=330, fc="none", ec="#FFD43B", lw=1.8)
        x, y = defect[frame] / PIXEL_SIZE
        ax.plot(middle + x, middle - y, "x", color="#2B8A3E", ms=11, mew=3)
        ax.set(title=f"frame {frame}", xticks=[], yticks=[])
    above.colorbar(lines, ax=[axes[k] for k in "012"], label="length less its level, Å", shrink=0.85, extend="both")
    always = changes.frames[dumbbells.number] == FRAMES
    size = np.where(always, np.abs(changes.z[:, 0]), np.nan)
    worst = dumbbells.number[int(np.nanargmax(size))]
    still = int(np.nanargmax(np.where(changes.frames == FRAMES, changes.p[:, 0], np.nan)))
    for number, colour, label in (
        (worst, "#C92A2A", "the dumbbell that changes most"),
        (still, "#1C7ED6", "the one that is constant best"),
    ):
        mine = np.flatnonzero(dumbbells.number == number)
        mine = mine[np.argsort(dumbbells.frame[mine])]
        bars = SIGMAS * changes.sigma[mine, 0]
        axes["t"].errorbar(
            dumbbells.frame[mine], dumbbells.value[mine, 0], bars, fmt="o-", color=colour, capsize=3, label=label
        )
    axes["t"].set(xlabel="frame", ylabel="length, Å (bars: 2 sigma)")
    axes["t"].legend(frameon=False)
    z = changes.z[np.isfinite(changes.z[:, 0])]
    for k, (name, colour) in enumerate((("length", "#C92A2A"), ("angle", "#1C7ED6"), ("asymmetry", "#868E96"))):
        axes["h"].hist(z[:, k], np.arange(-10, 10.5, 0.5).tolist(), histtype="step", color=colour, lw=1.6, label=name)
    for sign in (-1, 1):
        axes["h"].axvline(sign * changes.threshold, color="#FAB005", ls="--", lw=1)
    axes["h"].set(xlabel="change, standard errors", ylabel="dumbbells in all frames", yscale="log")
    axes["h"].legend(frameon=False)
    figure.suptitle(
        f"Si ⟨110⟩, {DOSE:g} electrons per column. Colour: change of length. Rings: changes at 2 sigma, however many "
        "were looked at. Cross: the defect."
    )
    return figure


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "si_dumbbells.png")
