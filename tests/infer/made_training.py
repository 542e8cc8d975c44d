"""A training of a few steps on made-up samples; needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from picostem.infer.network import Perceptron
from picostem.infer.train import train
from picostem.infer.training_settings import TrainingSettings
from tests.infer.made_samples import TWO, draw, reads

TINY = TrainingSettings(
    steps=6, batch=32, warm_up=2, averaged=0.5, validation=64, validate_every=4, modes=2, width=16, blocks=1
)
DATA = {"made": 1}


def trained(folder: Path, settings: TrainingSettings = TINY, seed: int = 0, **options: Any) -> Perceptron:
    given = {"data": DATA, "device": "cpu", "draw": draw, "torus": TWO} | options
    return train(invariants=reads(given["torus"]), settings=settings, folder=folder, seed=seed, **given)
