"""Simulated ADF-STEM images: a fast linear model, multislice for comparison, and the recording with its noise."""

from __future__ import annotations

from picostem.simulate.acquisition import AcquisitionSettings, acquire
from picostem.simulate.experiment import simulate_stack, write_simulation
from picostem.simulate.incoherent import simulate_atoms, simulate_periodic
from picostem.simulate.microscope import Microscope
from picostem.simulate.multislice import MultisliceSettings, simulate_atoms_multislice, simulate_periodic_multislice

__all__ = [
    "AcquisitionSettings",
    "Microscope",
    "MultisliceSettings",
    "acquire",
    "simulate_atoms",
    "simulate_atoms_multislice",
    "simulate_periodic",
    "simulate_periodic_multislice",
    "simulate_stack",
    "write_simulation",
]
