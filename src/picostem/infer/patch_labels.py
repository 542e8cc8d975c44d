"""What a network for patches says in numbers: labels plain, as published, as waves, or as densities of twists.

A label is one stacking u, of c coordinates modulo 1: slips as fractions of the cell, or a twist over the period of its
layers. Those that look the same are A u, A one of some integer matrices: see `picostem.infer.torus` for slips; a twist
of like layers looks like the opposite one.

    plain: a number for each coordinate, of those from 0 to below 1 the first in order. It jumps where two are as good.
    waves: functions of u that are smooth and the same for all that look the same, see `picostem.infer.patch_waves`.
    density: of twists, how likely each of them is, see `picostem.infer.patch_density`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.patch_plan import Task
from picostem.errors import DataError, UsageError
from picostem.infer.patch_density import Density
from picostem.infer.patch_waves import Waves
from picostem.infer.torus import Torus
from picostem.physics import DEGREE
from picostem.structure.equivalence import twist_distance
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]

Form = Literal["plain", "waves", "density"]

STEP_DEG = 0.5
"""Between the Gaussians of a density."""

NEAR_DEG = 1.0
"""Off the likeliest twist, up to which its probability counts for how sure it is."""

DIGITS = 9
"""Of labels that are put in order, so that rounding does not decide."""

PERIODS_DEG = (60.0, 90.0, 120.0, 180.0, 360.0)
"""Of twists of crystals."""

SOME_TWIST = 0.1234
"""rad; any that no symmetry singles out."""


@dataclass(frozen=True, eq=False)
class Labels:
    """How labels become numbers, and numbers labels.

    Attributes:
        form: of the numbers.
        maps: A, the identity first, shape (e, c, c).
        unit: what one turn of a coordinate is: rows of the cell, Å, shape (2, 2); or a twist's period, rad, (1, 1).

    Raises:
        UsageError: another form.
        DataError: arrays that do not go together.
    """

    form: Form
    maps: FloatArray
    unit: FloatArray

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise UsageError(f"no form of labels {self.form!r}: take one of {', '.join(get_args(Form))}")
        shape, unit = self.maps.shape, self.unit.shape
        if len(shape) != 3 or shape[1] != shape[2] or not shape[0] or unit not in ((1, 1), (2, 2)):
            raise DataError(f"expected maps (e, c, c) and a unit (1, 1) or (2, 2), got {shape} and {unit}")
        if shape[1] % unit[0] or not np.array_equal(self.maps[0], np.eye(shape[1])):
            raise DataError(f"expected coordinates in groups of {unit[0]} and the identity first, got {shape[1]}")
        if self.form == "density" and not self.twists:
            raise UsageError("densities are of twists: take plain or waves for slips")

    @classmethod
    def of(cls, layers: tuple[Monolayer, ...], task: Task, form: Form) -> Labels:
        """Those of a plan's layers and task."""
        if task == "twist":
            return cls(form, np.array([[[1.0]], [[-1.0]]]), np.array([[twist_period(layers[0])]]))
        torus = Torus.of(layers)
        return cls(form, np.array([np.kron(one, np.eye(2)) for one in torus.matrices]), torus.cell)

    @property
    def coordinates(self) -> int:
        """How many a label has."""
        return int(self.maps.shape[1])

    @property
    def size(self) -> int:
        """How many numbers the network says."""
        if self.form == "density":
            return 3 * (self.angles // 2 + 1)
        return self.coordinates if self.form == "plain" else len(self.waves)

    @cached_property
    def waves(self) -> Waves:
        """Those of the form of this name."""
        return Waves.of(self.maps)

    @property
    def twists(self) -> bool:
        """Whether labels are twists."""
        return self.unit.shape == (1, 1)

    @property
    def angles(self) -> int:
        """How many steps of a density a twist's period has."""
        return round(float(self.unit[0, 0]) / (STEP_DEG * DEGREE))

    def equivalents(self, labels: FloatArray) -> FloatArray:
        """Turns, from 0 to below 1, of all stackings that look like those of labels (k, c); shape (k, e, c)."""
        turns = labels / self.unit[0, 0] if self.twists else labels
        return np.asarray(np.round(np.einsum("eij,kj->kei", self.maps, turns), DIGITS) % 1.0)

    def targets(self, labels: FloatArray) -> Single:
        """What the network should say, shape (k, size); of densities, the twist over its period, 0 to 1/2, (k, 1)."""
        turns = self.equivalents(labels)
        values = self.waves.at(turns[:, 0]) if self.form == "waves" else self._first(turns)
        return values.astype(np.float32)

    def canonical(self, labels: FloatArray) -> FloatArray:
        """Of the labels that look the same, the first in order, shape (k, c)."""
        return np.asarray(self._first(self.equivalents(labels)) * (self.unit[0, 0] if self.twists else 1.0))

    def _first(self, turns: FloatArray) -> FloatArray:
        """The first in order of each row of (k, e, c)."""
        order = np.lexsort(turns.transpose(2, 0, 1)[::-1], axis=-1)
        return np.asarray(turns[np.arange(len(turns)), order[:, 0]])

    def decoded(self, outputs: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
        """Labels, canonical, shape (k, c), and how sure the network is, from 0 to 1, (k,), of what it said, (k, size).

        Waves of what cannot be told apart average to those of no stacking: how sure the network is falls with the
        distance to the nearest stacking's, root mean square. Of a density it is the probability within NEAR_DEG. Plain
        numbers say nothing of that: 1.
        """
        values = np.asarray(outputs, dtype=np.float64)
        unit = self.unit[0, 0] if self.twists else 1.0
        if self.form == "plain":
            return self.canonical(values * unit), np.ones(len(values))
        if self.form == "density":
            density, near = Density.of(values), NEAR_DEG * DEGREE / unit
            peak = density.peaks()
            return peak[:, None] * unit, density.within(peak - near, peak + near)
        turns = self.waves.nearest(values)
        away = np.sqrt(np.mean((values - self.waves.at(turns)) ** 2, axis=1))
        return self.canonical(turns * unit), np.clip(1 - away, 0.0, 1.0)

    def distance(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """How far the stackings of labels (k, c) are apart: slips in Å, as `Torus.distance`, twists in rad."""
        if self.twists:
            apart = self.equivalents(a)[:, :, 0] - (b / self.unit[0, 0])
            return np.asarray(np.abs(apart - np.rint(apart)).min(axis=1) * self.unit[0, 0])
        matrices = np.rint(self.maps[:, ::2, ::2]).astype(np.int64)
        shape = (-1, self.coordinates // 2, 2)
        return Torus(self.unit, matrices).distance(a.reshape(shape), b.reshape(shape))


def twist_period(layer: Monolayer) -> float:
    """The twist, rad, after which two like layers look as before; raises `UsageError` where there is none."""
    for degrees in PERIODS_DEG:
        if twist_distance(SOME_TWIST, SOME_TWIST + degrees * DEGREE, layer) < 1e-6:  # rad: rounding
            return degrees * DEGREE
    raise UsageError(f"twists of {layer.name} do not come back after a turn: give another material")
