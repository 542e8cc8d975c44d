"""Recipes of networks that are trained in seconds; needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from picostem.dataset.plan import Corruptions, Plan
from picostem.infer import learn as learning
from picostem.infer.card import NetCard
from picostem.infer.learn import Recipe, learn
from picostem.infer.training_settings import TrainingSettings

BEAM = (300.0, 21.3, (39.0, 200.0))
TINY = TrainingSettings(
    steps=60,
    batch=64,
    learning_rate=4e-3,
    warm_up=5,
    averaged=0.9,
    validation=64,
    validate_every=15,
    modes=2,
    width=32,
    blocks=1,
)


def tiny(microscopes: int = 2, settings: TrainingSettings = TINY, **changes: Any) -> Recipe:
    """Perfect bilayers of MoS2 in one microscope, unless the plan's `changes` say otherwise."""
    plan = {"material": "MoS2", "corruptions": Corruptions.none(), "dose": (1e4, 1e5)} | changes
    return Recipe(Plan(**plan), microscopes, BEAM, settings)


def learned(recipe: Recipe, folder: Path, judged: int = 300, fewest: int = 2, **options: Any) -> NetCard:
    """`learn` with less to judge a network by, on one thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "JUDGED", judged)
        patch.setattr(learning, "FEWEST", fewest)
        return learn(recipe, folder, **{"name": "tiny", "device": "cpu", "threads": 1} | options)
