"""Stacks as many microscopes would see them: all that is needed to give the harmonics of any slip quickly.

    c(h) = sum over layers l of exp(-2 pi i h . t_l) * sum over terms j of o_lj sites_lj(h)
           + sum over pairs l < m of exp(-2 pi i h . t_l) * sum over q of kernel_lm(h, q) exp(-2 pi i q . (t_m - t_l))

A term is an atom, or what two atoms on one column scatter together; o is its occupancy, 1 in a perfect crystal. c
is in fractions of the beam.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.orientation import Orientations
from picostem.errors import FileError, OutputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Single = NDArray[np.float32]
SingleComplex = NDArray[np.complex64]

FORMAT = "picostem.bank/2"


@dataclass(frozen=True, eq=False)
class Bank:
    """A stack of layers on one lattice, seen by m microscopes.

    Attributes:
        material: name of the layers. antiparallel: whether one is turned by 180° against another.
        cell: rows of the lattice, crystal frame, Å, shape (2, 2).
        hk: reflections of one half plane, shape (n, 2).
        pairs: atoms that share a column, indices, shape (p, 2); they are the terms after the single atoms.
        sites: of each microscope, layer and term, shape (m, layers, atoms + p, n); fractions of the beam.
        mean: the same at h = 0, shape (m, layers, atoms + p).
        q: lattice vectors of the kernels, shape (k, 2).
        kernels: what pairs of layers do together, (0, 1), (0, 2), (1, 2), shape (m, pairs of layers, n, k).
        factors: of each layer, and what a standard deviation of each parameter of the microscope changes; the same on
            the other side of focus, for which a fit may take it; in any unit, shape (m, 2, 1 + p, layers, n).
        conditions: voltage / 300 kV, semiangle / 25 mrad and inner detector angle / semiangle, shape (m, 3).
        orientations: operations that lay the stack's layers on themselves.
    """

    material: str
    antiparallel: bool
    cell: FloatArray
    hk: IntArray
    pairs: IntArray
    sites: SingleComplex
    mean: Single
    q: IntArray
    kernels: SingleComplex
    factors: SingleComplex
    conditions: Single
    orientations: Orientations

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def layers(self) -> int:
        """How many layers the stack has."""
        return int(self.sites.shape[1])

    @property
    def atoms(self) -> int:
        """How many atoms a layer's cell has."""
        return int(self.sites.shape[2]) - len(self.pairs)

    @property
    def reciprocal(self) -> FloatArray:
        """Rows a*, b*, crystal frame, 1/Å, shape (2, 2)."""
        return np.asarray(np.linalg.inv(self.cell).T)


def save(bank: Bank, path: Path) -> None:
    """Write a bank as .npz, completely or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    values = {field.name: getattr(bank, field.name) for field in fields(bank) if field.name != "orientations"}
    turned = {field.name: getattr(bank.orientations, field.name) for field in fields(Orientations)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.npz")
        try:
            np.savez(beside, format=np.array(FORMAT), **values, **turned)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def load(path: Path) -> Bank:
    """Read what `save` wrote; nothing is unpickled.

    Raises:
        FileError: missing, damaged, or not a bank.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            if "format" not in file or str(file["format"]) != FORMAT:
                raise FileError(f"{path} is no bank of microscopes; expected format {FORMAT}: build it anew")
            turned = Orientations(**{field.name: file[field.name] for field in fields(Orientations)})
            values = {
                f.name: file[f.name] for f in fields(Bank) if f.name not in ("material", "antiparallel", "orientations")
            }
            name, antiparallel = str(file["material"]), bool(file["antiparallel"])
            return Bank(name, antiparallel, orientations=turned, **values)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # numpy and zipfile raise several
        raise FileError(f"{path} is damaged: {error}: build it anew") from error
