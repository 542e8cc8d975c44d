"""Defects in a field of atoms: vacancies, substitutions and holes. The arrays `layer` and `site` are kept."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError


def random_sites(
    atoms: Atoms, fraction: float, rng: np.random.Generator, *, symbol: str | None = None, layer: int | None = None
) -> NDArray[np.bool_]:
    """Which atoms a random defect hits: each one of the element and layer named, independently, with this probability.

    Args:
        symbol: element, or all.
        layer: counted from 1, or all.

    Returns:
        Mask over the atoms, shape (atoms,).

    Raises:
        UsageError: the fraction is not within [0, 1], the element is unknown, or the atoms have no such layer.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"a fraction of sites lies between 0 and 1, got {fraction}")
    return _selected(atoms, symbol, layer) & (rng.random(len(atoms)) < fraction)


def vacancies(
    atoms: Atoms, fraction: float, rng: np.random.Generator, *, symbol: str | None = None, layer: int | None = None
) -> Atoms:
    """The atoms without the sites that `random_sites` chooses."""
    kept: Atoms = atoms[~random_sites(atoms, fraction, rng, symbol=symbol, layer=layer)]
    return kept


def substitutions(
    atoms: Atoms,
    fraction: float,
    replacement: str,
    rng: np.random.Generator,
    *,
    symbol: str | None = None,
    layer: int | None = None,
) -> Atoms:
    """The atoms with another element on the sites that `random_sites` chooses.

    Raises:
        UsageError: the replacement is not an element, or as in `random_sites`.
    """
    _check_element(replacement)
    changed: Atoms = atoms[:]
    changed.numbers[random_sites(atoms, fraction, rng, symbol=symbol, layer=layer)] = atomic_numbers[replacement]
    return changed


def hole(
    atoms: Atoms,
    centre: ArrayLike,
    radius: float,
    rng: np.random.Generator,
    *,
    roughness: float = 0.15,
    layer: int | None = None,
) -> Atoms:
    """The atoms outside a hole through one layer or all of them, with a random outline.

    r(phi) = radius · (1 + roughness · sum over m = 1..5 of (u_m cos m phi + v_m sin m phi) / m), u and v normal
    deviates; where this is negative, nothing is removed.

    Args:
        centre: (x, y), Å, in the frame of the atoms.
        radius: mean radius, Å.

    Raises:
        UsageError: radius or roughness is negative, or the atoms have no such layer.
    """
    if radius < 0 or roughness < 0:
        raise UsageError(f"radius and roughness of a hole must not be negative, got {radius} and {roughness}")
    x, y = (atoms.positions[:, :2] - np.asarray(centre, dtype=np.float64)).T
    order = np.arange(1, 6)
    waves = np.arctan2(y, x)[:, None] * order
    cosine, sine = rng.standard_normal((2, len(order))) / order
    outline = radius * (1 + roughness * (np.cos(waves) @ cosine + np.sin(waves) @ sine))
    removed = (np.hypot(x, y) < outline) & _selected(atoms, None, layer)
    kept: Atoms = atoms[~removed]
    return kept


def _selected(atoms: Atoms, symbol: str | None, layer: int | None) -> NDArray[np.bool_]:
    selected = np.ones(len(atoms), dtype=bool)
    if symbol is not None:
        _check_element(symbol)
        selected &= atoms.numbers == atomic_numbers[symbol]
    if layer is not None:
        layers = atoms.arrays.get("layer")
        if layers is None or layer not in layers:
            present = "none" if layers is None else ", ".join(map(str, np.unique(layers)))
            raise UsageError(f"there is no layer {layer} in these atoms; layers present: {present}")
        selected &= layers == layer
    return selected


def _check_element(symbol: str) -> None:
    # X stands for "no element" in ASE.
    if symbol not in atomic_numbers or symbol == "X":
        raise UsageError(f"expected the symbol of a chemical element, got {symbol!r}")
