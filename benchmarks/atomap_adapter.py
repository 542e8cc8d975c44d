"""Let atomap find and refine the atoms of recordings, in a virtual environment of its own.

    python -m venv ATOMAP && ATOMAP/bin/pip install atomap
    picostem bench atoms FOLDER --write RECORDINGS
    ATOMAP/bin/python benchmarks/atomap_adapter.py RECORDINGS PLACES [--starts]
    picostem bench atoms FOLDER --places PLACES

It is told what it asks for, the distance of columns: maxima at least half of it apart in the image, smoothed by 0.15 of
it, then its centre of mass and its 2D Gaussian on the image itself, as its manual does. With `--starts` it refines the
places in NAME.csv instead of maxima. PLACES/NAME.csv has row and column in pixels, after a line with the seconds of the
refinement.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from pathlib import Path

import atomap.api as am
import numpy as np
import tifffile
from hyperspy.signals import Signal2D
from numpy.typing import NDArray
from scipy import ndimage

APART, SMOOTH = 0.5, 0.15


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("places", type=Path)
    parser.add_argument("--starts", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.places.mkdir(parents=True, exist_ok=True)
    for path in sorted(arguments.recordings.glob("*.tif")):
        image = tifffile.imread(path).astype(np.float64)
        spacing = json.loads(path.with_suffix(".json").read_text("utf-8"))["spacing_px"]
        if arguments.starts:
            start = read_starts(path.with_suffix(".csv"))
        else:
            smooth = Signal2D(ndimage.gaussian_filter(image, SMOOTH * spacing))
            start = np.asarray(am.get_atom_positions(smooth, separation=max(1, round(APART * spacing))))
        began = time.perf_counter()
        found = refined(image, start) if len(start) > 2 else np.empty((0, 2))
        seconds = time.perf_counter() - began
        lines = [f"{y:.4f},{x:.4f}" for x, y in found]
        text = "\n".join([f"# {seconds:.3f}", "row,col", *lines]) + "\n"
        (arguments.places / f"{path.stem}.csv").write_text(text, "utf-8")
        print(f"{path.stem}: {len(found)} atoms, {len(found) / seconds:.0f}/s", flush=True)


def refined(image: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """x and y after the centre of mass and the 2D Gaussian, shape (n, 2)."""
    lattice = am.Sublattice(start, image=image)
    lattice.find_nearest_neighbors()
    lattice.refine_atom_positions_using_center_of_mass(show_progressbar=False)
    lattice.refine_atom_positions_using_2d_gaussian(show_progressbar=False)
    return np.column_stack([lattice.x_position, lattice.y_position])


def read_starts(path: Path) -> NDArray[np.float64]:
    """x and y of NAME.csv, shape (n, 2)."""
    with path.open(encoding="utf-8") as file:
        file.readline()
        return np.array([(float(line["col"]), float(line["row"])) for line in csv.DictReader(file)])


if __name__ == "__main__":
    main()
