"""Let pyroVED learn the orientations of diffraction patterns, in a virtual environment of its own.

    python -m venv PYROVED && PYROVED/bin/pip install pyroved
    PYROVED/bin/python benchmarks/pyroved_adapter.py PATTERNS.npy FOUND [--epochs 20] [--seed 0]

PATTERNS.npy has shape (n, rows, cols). `pyroved.models.iVAE` with the invariance to rotations, two latents and else its
own defaults (Bernoulli, batch 100, Adam 1e-3, an angle with the prior N(0, 1)) learns them, scaled to 0 to 1 as it asks
for. FOUND gets angle.npy, shape (n,), rad, as its encoder gives it: neither its zero nor its sense of rotation is ours;
latents.npy, shape (n, 2); and seconds.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch


def main() -> None:
    """Command line."""
    # Its wheels cannot be imported beside a torch without CUDA; only pictures are drawn with it.
    sys.modules |= {name: MagicMock() for name in ("torchvision", "torchvision.utils")}
    import pyroved

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", type=Path)
    parser.add_argument("found", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    raw = np.load(arguments.patterns).astype(np.float32)
    patterns = torch.from_numpy((raw - raw.min()) / (raw.max() - raw.min()))
    began = time.perf_counter()
    model = pyroved.models.iVAE(patterns.shape[1:], latent_dim=2, invariances=["r"], seed=arguments.seed)
    trainer = pyroved.trainers.SVItrainer(model, seed=arguments.seed)
    loader = pyroved.utils.init_dataloader(patterns)
    for _ in range(arguments.epochs):
        trainer.step(loader)
        seconds = time.perf_counter() - began
        print(f"epoch {trainer.current_epoch}: {trainer.loss_history['training_loss'][-1]:.1f}, {seconds:.0f} s")
        sys.stdout.flush()
    mean, _ = model.encode(patterns)
    arguments.found.mkdir(parents=True, exist_ok=True)
    np.save(arguments.found / "angle.npy", mean[:, 0].numpy())
    np.save(arguments.found / "latents.npy", mean[:, 1:].numpy())
    (arguments.found / "seconds.json").write_text(json.dumps({"seconds": seconds, "epochs": arguments.epochs}), "utf-8")


if __name__ == "__main__":
    main()
