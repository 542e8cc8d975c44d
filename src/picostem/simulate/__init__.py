"""Simulated ADF-STEM images: a fast linear model, multislice for comparison, and the recording with its noise."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picostem.simulate.acquisition import AcquisitionSettings, acquire
    from picostem.simulate.domains import TwistDomains
    from picostem.simulate.experiment import simulate_specimen, simulate_stack
    from picostem.simulate.incoherent import simulate_atoms, simulate_periodic
    from picostem.simulate.microscope import Microscope
    from picostem.simulate.multislice import MultisliceSettings, simulate_atoms_multislice, simulate_periodic_multislice
    from picostem.simulate.slip_field import SlipField
    from picostem.simulate.writing import write_simulation

_HOMES = {
    "AcquisitionSettings": "acquisition",
    "Microscope": "microscope",
    "MultisliceSettings": "multislice",
    "SlipField": "slip_field",
    "TwistDomains": "domains",
    "acquire": "acquisition",
    "simulate_atoms": "incoherent",
    "simulate_atoms_multislice": "multislice",
    "simulate_periodic": "incoherent",
    "simulate_periodic_multislice": "multislice",
    "simulate_specimen": "experiment",
    "simulate_stack": "experiment",
    "write_simulation": "writing",
}

__all__ = [
    "AcquisitionSettings",
    "Microscope",
    "MultisliceSettings",
    "SlipField",
    "TwistDomains",
    "acquire",
    "simulate_atoms",
    "simulate_atoms_multislice",
    "simulate_periodic",
    "simulate_periodic_multislice",
    "simulate_specimen",
    "simulate_stack",
    "write_simulation",
]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: the fit needs the scattering, not the whole simulation."""
    if name not in _HOMES:
        raise AttributeError(f"module 'picostem.simulate' has no attribute {name!r}")
    return getattr(import_module(f"picostem.simulate.{_HOMES[name]}"), name)
