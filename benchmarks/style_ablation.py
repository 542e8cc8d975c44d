"""Train styles with parts of the method left out, several seeds of each, and put them side by side.

    python benchmarks/style_ablation.py FOLDER IMAGE... --material ReS2 --pixel-size 0.044 --pixel-size 0.059 ...

`small` is the published network with an eighth of its channels, whole (Trident: selection, augmentation, content
consistency) and with parts left out; `cpu` is the network with linear imaging. Needs the extra "train". About ten
minutes for each training of 2000 steps on one core, two at a time, and some minutes to measure it; it can be stopped
and started again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from picostem.bench.style import Experiments, ablation_table, measure
from picostem.files import read_image
from picostem.image import Image
from picostem.style.presets import ABLATIONS

VARIANTS = ("small", *(f"small-{name}" for name in ABLATIONS), "cpu")
SIDE_BY_SIDE = 2


def train(arguments: argparse.Namespace, variant: str, seed: int) -> Path:
    """Train one, or go on with it; returns the folder of the style."""
    out: Path = arguments.folder / f"{variant}_{seed}"
    if not (out / "style" / "style.json").exists():
        sizes = [word for size in arguments.pixel_size for word in ("--pixel-size", str(size))]
        words = ["--material", arguments.material, "--preset", variant, "--seed", str(seed), "--out", str(out)]
        words += ["--steps", str(arguments.steps), "--threads", "1", *sizes]
        images = [str(image) for image in arguments.images]
        subprocess.run([sys.executable, "-m", "picostem", "style", "train", *images, *words], check=True)
    return out / "style"


def images_of(arguments: argparse.Namespace) -> tuple[Image, ...]:
    """The experimental images with their pixel sizes."""
    images = [read_image(path) for path in arguments.images]
    sizes = arguments.pixel_size
    if not sizes:
        return tuple(images)
    return tuple(image.with_pixel_size(size, "user") for image, size in zip(images, sizes, strict=True))


def measured(folder: Path, experiments: Experiments, count: int) -> dict[str, Any]:
    """Figures of one style, kept beside it."""
    report = folder.with_name(f"report_{count}.json")
    if not report.exists():
        report.write_text(json.dumps(measure(folder, experiments, count=count, baseline=False).as_dict()), "utf-8")
        print(report, flush=True, file=sys.stderr)
    totals: dict[str, Any] = json.loads(report.read_text("utf-8"))["totals"]
    return totals


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--material", required=True)
    parser.add_argument("--pixel-size", type=float, action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--count", type=int, default=40)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    jobs = [(variant, seed) for seed in range(arguments.seeds) for variant in VARIANTS]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        folders = list(pool.map(lambda job: train(arguments, *job), jobs))
    experiments = Experiments(images_of(arguments), (), arguments.material)
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in VARIANTS}
    for folder, (variant, _) in zip(folders, jobs, strict=True):
        found[variant].append(measured(folder, experiments, arguments.count))
    print(ablation_table(found).markdown())


if __name__ == "__main__":
    main()
