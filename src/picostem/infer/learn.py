"""From a material to a network for its stackings: microscopes, training, calibration, the network's folder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from picostem.dataset.bank import Bank, load, save
from picostem.dataset.microscopes import Beam, build
from picostem.dataset.plan import Corruptions, Plan
from picostem.dataset.samples import draw
from picostem.errors import FileError, UsageError
from picostem.infer.calibrate import calibrate, reliability
from picostem.infer.card import NetCard
from picostem.infer.export import onnx_of, save_network
from picostem.infer.features import Invariants
from picostem.infer.folder import write_folder
from picostem.infer.network import Perceptron
from picostem.infer.predict import StackingNet
from picostem.infer.samples import Samples
from picostem.infer.torus import Torus
from picostem.infer.train import train
from picostem.infer.training_settings import TrainingSettings
from picostem.structure.materials import load_monolayer
from picostem.structure.monolayer import Monolayer

NET, WEIGHTS = "net", "network.safetensors"
"""What is in a training's folder when it is done: the folder of the network, and weights for further training."""

UNSEEN = 0.125
"""Microscopes for calibration and figures over those of the training, which has none of them."""

FEWEST = 8
"""Of any bank but that of the training."""

OTHERS = ("ReS2", "MoS2")
"""Crystals that are taken for the wrong one; of the two, the one whose lattice is not the material's."""

JUDGED = 4096
"""Windows for the calibration, and as many for each figure."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Recipe:
    """What a network is trained with.

    Attributes:
        plan: of the samples; its seed is that of all that is random.
        microscopes: how many there are.
        beam: the microscope, if there is one only; its aberrations, blur and brightness still vary.
        settings: of the training.

    Raises:
        UsageError: no microscopes.
    """

    plan: Plan
    microscopes: int
    beam: Beam | None = None
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if self.microscopes < 1:
            raise UsageError(f"expected a microscope or more to train with, got {self.microscopes}")

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.plan.seed


def learn(
    recipe: Recipe,
    folder: Path,
    *,
    name: str,
    licence: str = "",
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = lambda stage, done, total: None,
    resume: bool = True,
) -> NetCard:
    """Train a network, calibrate it, and write it into `folder`/net; a training that was stopped goes on.

    The folder keeps the microscopes (bank-*.npz), checkpoint.safetensors and training.jsonl.

    Args:
        name, licence: for the card.
        device, threads, resume: as in `picostem.infer.train.train`.
        progress: called with what is going on, how much is done, and of how much.

    Raises:
        UsageError: a material that is not known, a folder of another training, a device that is not there.
        DataError: a training that failed, or was too short to be calibrated.
        OutputError: the folder cannot be written.
    """
    plan = recipe.plan
    stack = plan.stack()
    bank = kept_bank(stack, recipe.microscopes, recipe.beam, (recipe.seed, 1), folder, progress)
    unseen = kept_bank(stack, unseen_count(recipe.microscopes), recipe.beam, (recipe.seed, 2), folder, progress)
    other = kept_bank(_other(stack[0]), FEWEST, recipe.beam, (recipe.seed, 3), folder, progress)
    torus, invariants = Torus.of(stack), Invariants.lowest(bank.hk, bank.cell, bank.layers)
    data = {"plan": _lasting(plan), "microscopes": recipe.microscopes, "beam": recipe.beam, "stack": signature(stack)}
    data = json.loads(json.dumps(data))  # as the card and the checkpoint will have it
    network = train(
        lambda rng, count: draw(plan, bank, rng, count, other),
        invariants,
        torus,
        recipe.settings,
        folder,
        seed=recipe.seed,
        data=data,
        device=device,
        threads=threads,
        progress=lambda step, steps, figures: progress(_said(figures), step, steps),
        resume=resume,
    )
    progress("calibration", 0, 0)
    card = NetCard.of(
        name,
        bank.material,
        plan.antiparallel,
        plan.window_A,
        torus,
        invariants,
        limits=limits(draw(plan, bank, np.random.default_rng((recipe.seed, 4)), JUDGED)),
        training={"settings": recipe.settings.as_dict(), "seed": recipe.seed, "licence": licence, **data},
    )
    save_network(network, folder / WEIGHTS)
    return _calibrated(network, card, plan, unseen, other, folder / NET)


def _lasting(plan: Plan) -> dict[str, Any]:
    """What of a plan makes the samples."""
    return {key: value for key, value in plan.as_dict().items() if key not in ("count", "seed")}


def signature(layers: tuple[Monolayer, ...]) -> str:
    """What tells layers from any others, wherever they came from."""
    what = [(layer.name, layer.symbols, layer.cell.tolist(), layer.positions.tolist()) for layer in layers]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _said(figures: dict[str, float]) -> str:
    return f"loss {figures['slips']:.2f}"


def unseen_count(microscopes: int) -> int:
    """How many microscopes there are to measure with that the training has not, beside those that it has."""
    return max(FEWEST, round(UNSEEN * microscopes))


def kept_bank(
    layers: tuple[Monolayer, ...],
    count: int,
    beam: Beam | None,
    stream: tuple[int, int],
    folder: Path,
    progress: Progress,
) -> Bank:
    """Microscopes drawn from a stream of a seed, those that the folder keeps if it does.

    Args:
        layers, count, beam: as `picostem.dataset.microscopes.build` takes them.
        stream: the seed, and a number.

    Raises:
        UsageError: as `build` does.
        OutputError: the folder cannot be written.
    """
    identity = json.dumps([signature(layers), count, *stream, beam])
    path = folder / f"bank-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.npz"
    if path.exists():
        try:
            return load(path)
        except FileError:
            path.unlink()
    bank = build(
        layers, count, np.random.default_rng(stream), beam, lambda done, total: progress("microscopes", done, total)
    )
    save(bank, path)
    return bank


def _other(layer: Monolayer) -> tuple[Monolayer, ...]:
    """Two layers of a crystal with another lattice."""
    crystals = (load_monolayer(name) for name in OTHERS)
    wrong = max(crystals, key=lambda one: float(np.abs(np.linalg.norm(one.cell - layer.cell))))
    return (wrong, wrong)


def limits(samples: Samples) -> tuple[tuple[float, ...], ...]:
    """Least and most of ln(noise / s) and of the conditions."""
    total = np.linalg.norm(samples.amplitudes, axis=1)
    share = np.log(samples.noise / np.maximum(total, samples.noise))
    seen = np.concatenate([share[:, None], samples.conditions], axis=1)[~samples.outlier]
    return tuple(seen.min(axis=0).tolist()), tuple(seen.max(axis=0).tolist())


def _calibrated(network: Perceptron, card: NetCard, plan: Plan, unseen: Bank, other: Bank, folder: Path) -> NetCard:
    """Write a network with what it is worth under microscopes that it has not seen."""
    content = onnx_of(network)
    with tempfile.TemporaryDirectory() as place:
        write_folder(Path(place) / NET, card, content)
        net = StackingNet.load(Path(place) / NET)
    rng = np.random.default_rng((plan.seed, 5))
    made = draw(plan, unseen, rng, JUDGED, other)
    raw = net.predict(made.amplitudes, made.noise, made.factors, made.conditions)
    card = replace(card, calibration=calibrate(raw, made.slips, made.outlier, rng))
    net = replace(net, card=card)
    perfect = replace(plan, corruptions=Corruptions.none(), outliers=0.0)
    figures = {}
    for what, drawn in (("as trained", plan), ("perfect crystals", perfect)):
        made = draw(drawn, unseen, rng, JUDGED, other)
        found = net.predict(made.amplitudes, made.noise, made.factors, made.conditions)
        figures[what] = reliability(found, made.slips, made.outlier, rng)
    return write_folder(folder, replace(card, figures=figures), content)
