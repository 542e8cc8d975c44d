"""Let AtomAI refine the atoms of recordings, in a virtual environment of its own.

    python -m venv ATOMAI && ATOMAI/bin/pip install atomai six
    picostem bench atoms FOLDER --write RECORDINGS
    ATOMAI/bin/python benchmarks/atomai_adapter.py RECORDINGS PLACES
    picostem bench atoms FOLDER --places PLACES

AtomAI comes without weights, so that its detection is not compared: only `atomai.utils.peak_refinement`, a 2D Gaussian
in a window around each atom, from the places in NAME.csv. Its window is twice a quarter of the distance of columns
wide. PLACES/NAME.csv has row and column in pixels, after a line with the seconds of the refinement; F1 then says only
how many places it kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from pathlib import Path

import numpy as np
import tifffile
from atomai.utils import peak_refinement

WINDOW = 0.25


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("places", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.places.mkdir(parents=True, exist_ok=True)
    for path in sorted(arguments.recordings.glob("*.tif")):
        image = tifffile.imread(path).astype(np.float64)
        spacing = json.loads(path.with_suffix(".json").read_text("utf-8"))["spacing_px"]
        with path.with_suffix(".csv").open(encoding="utf-8") as file:
            file.readline()
            start = np.array([(float(line["row"]), float(line["col"]), 0.0) for line in csv.DictReader(file)])
        began = time.perf_counter()
        found = peak_refinement(image, start, d=max(2, round(WINDOW * spacing)))
        seconds = time.perf_counter() - began
        lines = [f"{row:.4f},{col:.4f}" for row, col in np.asarray(found)[:, :2]]
        text = "\n".join([f"# {seconds:.3f}", "row,col", *lines]) + "\n"
        (arguments.places / f"{path.stem}.csv").write_text(text, "utf-8")
        print(f"{path.stem}: {len(found)} atoms, {len(found) / seconds:.0f}/s", flush=True)


if __name__ == "__main__":
    main()
