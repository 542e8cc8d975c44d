"""The truth about scan points of 4D-STEM data, as the atoms around them tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.simulate.specimen import Columns

FloatArray = NDArray[np.float64]

ORDERS = (1, 2, 3, 4, 6)
"""Of the order parameters."""
KINDS = ("pristine", "vacancy", "Si3", "Si4")
DEFECT_REACH = 2.0
"""Å around a defect that count as defective."""
_SEEN = 20.0
"""Widths around the scan in which columns count: what is left of the weight there is 1e-87."""
_TOLD = 5.0
"""Å around the scan: columns that the truth lists."""


def truth_maps(columns: Columns, x: FloatArray, y: FloatArray, width: float, defect: str | None) -> dict[str, Any]:
    """What the atoms say about scan points at x (cols,) and y (rows,), Å; each map has the shape (rows, cols).

    psi_n = sum_j g_nj exp(i n t_j) / sum_j g_nj,  g_nj = Z_j (d_j/width)^n exp(-d_j²/(2 width²)),

    | symbol | meaning |
    |---|---|
    | d_j, t_j | distance and direction (counter-clockwise from x) of column j from the scan point |
    | Z_j | sum of its atomic numbers |
    | width | about the probe's: half the radius of its Airy disc, 0.305 wavelength/semiangle |

    The numerator is the n-th derivative, along x + iy, of the charge seen through a Gaussian: smooth, as a column under
    the probe has no direction and no weight. |psi_n| is 1 where all around is n-fold, as psi_3 is on an atom of
    graphene and psi_6, but not 1 to 4, in its rings. The phase of psi_n over n is the local orientation modulo 2 pi/n;
    psi_1 points to where the beam is drawn.

    Returns:
        psi_1, psi_2, psi_3, psi_4, psi_6 (complex64); "column", the nearest one (int32), and "distance" from it, Å
        (float32); "kind", a number in KINDS (int8), not 0 within DEFECT_REACH of the defect at the origin.

    Raises:
        UsageError: there are no atoms.
    """
    point = x + 1j * y[:, None]
    near = np.all(np.abs(columns.places) < [np.abs(x).max() + _SEEN * width, np.abs(y).max() + _SEEN * width], axis=1)
    if not near.any():
        raise UsageError("there is no atom in or near the field that is scanned: place the specimen around the origin")
    place, charge = columns.places[near] @ [1, 1j], columns.charge[near]
    maps: dict[str, Any] = {f"psi_{n}": np.zeros(point.shape, np.complex64) for n in ORDERS}
    maps["column"], maps["distance"] = np.zeros(point.shape, np.int32), np.zeros(point.shape, np.float32)
    index = np.flatnonzero(near)
    for row in range(len(y)):
        away = place - point[row, :, None]
        distance = np.abs(away)
        near_charge = charge * np.exp(-(distance**2) / (2 * width**2))
        for n in ORDERS:
            total = (near_charge * (distance / width) ** n).sum(axis=1)
            maps[f"psi_{n}"][row] = (near_charge * (away / width) ** n).sum(axis=1) / np.maximum(total, 1e-300)
        nearest = distance.argmin(axis=1)
        maps["column"][row], maps["distance"][row] = index[nearest], distance[np.arange(len(x)), nearest]
    defective = (np.abs(point) <= DEFECT_REACH) * (KINDS.index(defect) if defect else 0)
    return maps | {"kind": defective.astype(np.int8)}


def told_columns(columns: Columns, x: FloatArray, y: FloatArray) -> dict[str, Any]:
    """The columns in the field and 5 Å around it, ready for JSON; index: as in the map "column"."""
    told = np.all(np.abs(columns.places) < [np.abs(x).max() + _TOLD, np.abs(y).max() + _TOLD], axis=1)
    return {
        "index": np.flatnonzero(told).tolist(),
        "x_A": columns.places[told, 0].tolist(),
        "y_A": columns.places[told, 1].tolist(),
        "species": [columns.species[one] for one in np.flatnonzero(told)],
    }
