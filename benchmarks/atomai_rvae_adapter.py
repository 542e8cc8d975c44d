"""Let AtomAI learn the orientations of diffraction patterns, in a virtual environment of its own.

    python -m venv ATOMAI && ATOMAI/bin/pip install atomai six
    ATOMAI/bin/python benchmarks/atomai_rvae_adapter.py PATTERNS.npy FOUND [--epochs 20] [--seed 0]

PATTERNS.npy has shape (n, rows, cols). `atomai.models.rVAE` without shifts, with two latents and else its own defaults
(squared error, batch 32, Adam 1e-4, a prior of the angle of 0.1 rad) learns them, scaled to 0 to 1. FOUND gets
angle.npy, shape (n,), rad, as its encoder gives it: neither its zero nor its sense of rotation is ours; latents.npy,
shape (n, 2); and seconds.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import MagicMock

import numpy as np


def main() -> None:
    """Command line."""
    # Its wheels cannot be imported beside a torch without CUDA; this network and its training do not need it.
    sys.modules |= {name: MagicMock() for name in ("torchvision", "torchvision.models", "torchvision.utils")}
    import atomai

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", type=Path)
    parser.add_argument("found", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    raw = np.load(arguments.patterns).astype(np.float32)
    patterns = (raw - raw.min()) / (raw.max() - raw.min())
    began = time.perf_counter()
    model = atomai.models.rVAE(patterns.shape[1:], latent_dim=2, translation=False, seed=arguments.seed)
    with TemporaryDirectory() as folder:  # where it keeps a pickle of every epoch
        model.fit(patterns, training_cycles=arguments.epochs, filename=f"{folder}/model")
    seconds = time.perf_counter() - began
    mean, _ = model.encode(patterns)
    arguments.found.mkdir(parents=True, exist_ok=True)
    np.save(arguments.found / "angle.npy", mean[:, 0])
    np.save(arguments.found / "latents.npy", mean[:, 1:])
    (arguments.found / "seconds.json").write_text(json.dumps({"seconds": seconds, "epochs": arguments.epochs}), "utf-8")


if __name__ == "__main__":
    main()
