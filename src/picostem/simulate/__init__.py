"""Simulated ADF-STEM images: a fast linear model, multislice for comparison, and the recording with its noise."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picostem.simulate.acquisition import AcquisitionSettings, acquire
    from picostem.simulate.experiment import simulate_stack, write_simulation
    from picostem.simulate.incoherent import simulate_atoms, simulate_periodic
    from picostem.simulate.microscope import Microscope
    from picostem.simulate.multislice import MultisliceSettings, simulate_atoms_multislice, simulate_periodic_multislice

_HOMES = {
    "AcquisitionSettings": "acquisition",
    "Microscope": "microscope",
    "MultisliceSettings": "multislice",
    "acquire": "acquisition",
    "simulate_atoms": "incoherent",
    "simulate_atoms_multislice": "multislice",
    "simulate_periodic": "incoherent",
    "simulate_periodic_multislice": "multislice",
    "simulate_stack": "experiment",
    "write_simulation": "experiment",
}

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


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: the fit needs the scattering, not the whole simulation."""
    if name not in _HOMES:
        raise AttributeError(f"module 'picostem.simulate' has no attribute {name!r}")
    return getattr(import_module(f"picostem.simulate.{_HOMES[name]}"), name)
