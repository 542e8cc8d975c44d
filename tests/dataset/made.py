"""Banks of a few microscopes and images with their truth, for the tests of `dataset` and `infer`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from picostem.dataset.bank import Bank
from picostem.dataset.microscopes import build
from picostem.dataset.plan import Plan
from picostem.resolve.evidence import HARMONIC_LIMIT
from picostem.resolve.model import Optics, StackModel
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Monolayer, Stack, load_monolayer
from picostem.structure.lattice import reflections

RES2, MOS2 = load_monolayer("ReS2"), load_monolayer("MoS2")
BEAM = (200.0, 24.0, (40.0, 200.0))
OPTICS = Optics(200e3, 24e-3, 0.0, 40e-3, 200e-3, "user")
MICROSCOPE = Microscope.from_lab_units(voltage_kV=200, semiangle_mrad=24, detector_mrad=(40, 200))

NOISE_FREE = AcquisitionSettings(dose=np.inf)


@cache
def bank_of(material: str = "MoS2", layers: int = 2, antiparallel: bool = False, count: int = 3) -> Bank:
    """A bank at BEAM, its other parameters drawn with a fixed seed."""
    stack = Plan(material, layers=layers, antiparallel=antiparallel).stack()
    return build(stack, count, np.random.default_rng(7), BEAM)


def model_of(layers: tuple[Monolayer, ...]) -> StackModel:
    """The model that the bank of these layers takes apart."""
    return StackModel.build(layers, reflections(layers[0].reciprocal, HARMONIC_LIMIT), np.eye(2), OPTICS)


class Steady(np.random.Generator):
    """A generator whose normal deviates are all 0: the prior's mean; uniform ones are drawn as ever."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(5))

    def standard_normal(self, size=None, dtype=np.float64, out=None):  # type: ignore[no-untyped-def]
        return np.zeros(size, dtype=dtype)


@cache
def steady_bank(material: str = "MoS2", antiparallel: bool = False) -> Bank:
    """One microscope without astigmatism and coma, which sees all operations of the layers as it sees the layers."""
    return build(Plan(material, antiparallel=antiparallel).stack(), 1, Steady(), BEAM)


def without_kernels(bank: Bank) -> Bank:
    """Layers that scatter independently of each other."""
    return replace(bank, kernels=np.zeros_like(bank.kernels))


def write_image(where: Path, name: str, stack: Stack, settings: AcquisitionSettings = NOISE_FREE) -> None:
    """A fast image of 36 Å, said to be a multislice one, turned and mirrored."""
    image, truth = simulate_stack(
        stack, MICROSCOPE, settings, (240, 240), 0.15, np.random.default_rng(0), rotation=0.4, mirrored=True
    )
    truth["simulated"] = "multislice, for a test"
    write_simulation(where, name, image, truth)
