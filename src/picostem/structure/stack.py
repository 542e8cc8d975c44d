"""Stacks of monolayers: slip, twist and order of the layers, and the atoms that an image of them shows.

Frames: r_image = R(rotation) · M · r_crystal + origin, M = diag(1, -1) if mirrored; image frame x right, y up, origin
at the image centre; the crystal frame is that of layer 1. A mirrored image therefore shows the opposite twist. Heights
are kept: layer 1 is at z = 0, further ones above it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
SiteArray = NDArray[np.int64]
Item = TypeVar("Item")

LATTICE_TOLERANCE = 1e-3
"""Fraction of a cell vector by which two layers may differ and still share a lattice: below 0.01 Å, as in equal cells
that were typed with different rounding."""


def rotation_matrix(angle: float) -> FloatArray:
    """R(angle), counter-clockwise, for column vectors; shape (2, 2), angle in radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def image_from_crystal(rotation: float, mirrored: bool) -> FloatArray:
    """R(rotation) · M, which takes a crystal vector (column) into the image frame; shape (2, 2)."""
    return np.asarray(rotation_matrix(rotation) @ np.diag([1.0, -1.0 if mirrored else 1.0]))


@dataclass(frozen=True)
class Layer:
    """One layer of a stack.

    Attributes:
        position: where the monolayer's origin lies, (x, y) in Å, layer 1's crystal frame.
        twist: rotation relative to layer 1, counter-clockwise, rad.
        z: height of the mid-plane, Å.
    """

    monolayer: Monolayer
    position: tuple[float, float] = (0.0, 0.0)
    twist: float = 0.0
    z: float = 0.0

    def __post_init__(self) -> None:
        position = np.asarray(self.position, dtype=np.float64)
        if position.shape != (2,) or not np.isfinite([*position, self.twist, self.z]).all():
            raise UsageError(
                f"a layer needs a finite position (x, y), twist and z, got {self.position}, {self.twist}, {self.z}"
            )
        object.__setattr__(self, "position", (float(position[0]), float(position[1])))

    @property
    def cell(self) -> FloatArray:
        """Rows a, b in layer 1's crystal frame, Å, shape (2, 2)."""
        return np.asarray(self.monolayer.cell @ rotation_matrix(self.twist).T)

    @property
    def positions(self) -> FloatArray:
        """The atoms of one cell in layer 1's crystal frame, Å, shape (sites, 3)."""
        planar = self.monolayer.positions[:, :2] @ rotation_matrix(self.twist).T + self.position
        return np.column_stack([planar, self.monolayer.positions[:, 2] + self.z])


@dataclass(frozen=True)
class Stack:
    """Layers from the beam's entrance side upwards.

    Raises:
        UsageError: there is no layer.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise UsageError("a stack needs at least one layer, got none")

    @classmethod
    def of(
        cls,
        monolayers: Sequence[Monolayer],
        slips: Sequence[ArrayLike] = (),
        twists: Sequence[float] = (),
        spacings: Sequence[float] = (),
    ) -> Stack:
        """A stack by its interfaces, from the bottom up.

        Args:
            monolayers: from the entrance side upwards.
            slips: per interface, the upper layer's translation in the lower layer's crystal frame, Å; none given: 0.
            twists: per interface, the upper layer's rotation relative to the lower one, rad; none given: 0.
            spacings: per interface, mid-plane to mid-plane, Å; none given: the mean of the two layers' spacings.

        Raises:
            UsageError: the numbers of layers and interfaces do not match, or a number is not finite.
        """
        pairs = list(itertools.pairwise(monolayers))
        count = len(pairs)
        mean_spacings = [(low.layer_spacing + up.layer_spacing) / 2 for low, up in pairs]
        steps = zip(
            _one_each("slip", slips, [(0.0, 0.0)] * count),
            _one_each("twist", twists, [0.0] * count),
            _one_each("spacing", spacings, mean_spacings),
            strict=True,
        )
        layers = [Layer(monolayers[0])] if monolayers else []
        for upper, (slip, twist, spacing) in zip(monolayers[1:], steps, strict=True):
            layers.append(_next_layer(layers[-1], upper, slip, twist, spacing))
        return cls(tuple(layers))

    @classmethod
    def bilayer(
        cls,
        lower: Monolayer,
        slip: ArrayLike,
        twist: float = 0.0,
        upper: Monolayer | None = None,
        spacing: float | None = None,
    ) -> Stack:
        """Two layers, of one material unless `upper` says otherwise; arguments as in `of`."""
        return cls.of([lower, upper or lower], [slip], [twist], [] if spacing is None else [spacing])

    @property
    def slips(self) -> FloatArray:
        """Per interface, the upper layer's translation in the lower layer's crystal frame, Å, shape (layers - 1, 2)."""
        pairs = itertools.pairwise(self.layers)
        vectors = [np.subtract(up.position, low.position) @ rotation_matrix(low.twist) for low, up in pairs]
        return np.array(vectors).reshape(-1, 2)

    @property
    def twists(self) -> FloatArray:
        """Per interface, the upper layer's rotation relative to the lower one, rad, shape (layers - 1,)."""
        return np.diff([layer.twist for layer in self.layers])

    def atoms(
        self,
        rotation: float = 0.0,
        mirrored: bool = False,
        origin: ArrayLike = (0.0, 0.0),
        extent: tuple[float, float] = (50.0, 50.0),
    ) -> Atoms:
        """The atoms in a rectangular field of the image frame.

        Args:
            rotation: of layer 1's crystal frame in the image frame, counter-clockwise, rad.
            mirrored: whether the crystal frame is seen mirrored.
            origin: where layer 1's crystal frame has its origin, (x, y) in the image frame, Å.
            extent: (width, height) of the field, centred on the image centre, Å. Atoms on its lower edges belong to it.

        Returns:
            Atoms with positions in the image frame and arrays `layer` (1-based) and `site` (0-based index in the
            monolayer). The cell is the field, its corner the cell's displacement.

        Raises:
            UsageError: the field is empty or a number is not finite.
        """
        half = np.asarray(extent, dtype=np.float64) / 2
        shift = np.asarray(origin, dtype=np.float64)
        if half.shape != (2,) or shift.shape != (2,) or not np.isfinite([*half, *shift, rotation]).all():
            raise UsageError(f"extent and origin must be two finite numbers each, got {extent!r} and {origin!r}")
        if not (half > 0).all():
            raise UsageError(f"the field must be larger than nothing, got {extent} Å")
        frame = image_from_crystal(rotation, mirrored)
        contents = [_fill(layer, frame, shift, half) for layer in self.layers]
        return self.boxed(contents, np.diag(2 * half), corner=-half, periodic=False)

    def unit_cell(self, vacuum: float = 15.0) -> Atoms:
        """One cell, periodic in the plane, of a stack whose layers share a lattice (twists of 60° included).

        Args:
            vacuum: height of the empty space above the stack, Å.

        Raises:
            UsageError: the layers do not share a lattice.
        """
        cell = self.layers[0].cell
        for index, layer in enumerate(self.layers[1:], start=2):
            if not _same_lattice(cell, layer.cell):
                raise UsageError(
                    f"layer {index} ({layer.monolayer.name}, twist {np.degrees(layer.twist):.3f}°) has another lattice "
                    f"than layer 1 ({self.layers[0].monolayer.name}): use atoms() for a field instead of a cell"
                )
        contents = [(layer.positions, np.arange(len(layer.monolayer.symbols))) for layer in self.layers]
        return self.boxed(contents, cell, corner=np.zeros(2), periodic=True, vacuum=vacuum)

    def boxed(
        self,
        contents: Sequence[tuple[FloatArray, SiteArray]],
        cell: FloatArray,
        corner: FloatArray,
        periodic: bool,
        vacuum: float = 0.0,
    ) -> Atoms:
        """Given atoms of each layer in one box, as high as they are plus the vacuum.

        Args:
            contents: for each layer, positions (n, 3) in Å and the site of each in the layer's monolayer (n,).
            cell: rows of the box in the plane, Å, shape (2, 2), and its corner, Å, shape (2,).

        Returns:
            Atoms with arrays `layer` (1-based) and `site`.
        """
        positions = np.concatenate([points for points, _ in contents])
        sites = np.concatenate([indices for _, indices in contents])
        symbols = [
            layer.monolayer.symbols[site]
            for layer, (_, indices) in zip(self.layers, contents, strict=True)
            for site in indices
        ]
        z = positions[:, 2] if len(positions) else np.zeros(1)
        # 1 Å: so that the box of a flat layer without vacuum still has a volume.
        height = max(float(np.ptp(z)) + vacuum, 1.0)
        box = np.zeros((3, 3))
        box[:2, :2], box[2, 2] = cell, height
        corner_3d = [*corner, (z.min() + z.max() - height) / 2]
        atoms = Atoms(symbols, positions=positions, cell=box, celldisp=corner_3d, pbc=(periodic, periodic, False))
        atoms.arrays["layer"] = np.repeat(np.arange(1, len(contents) + 1), [len(points) for points, _ in contents])
        atoms.arrays["site"] = sites
        return atoms


def _one_each(what: str, given: Sequence[Item], default: Sequence[Item]) -> Sequence[Item]:
    if len(given) not in (0, len(default)):
        raise UsageError(f"expected one {what} for each of {len(default)} interfaces, got {len(given)}")
    return given if len(given) else default


def _next_layer(lower: Layer, upper: Monolayer, slip: ArrayLike, twist: float, spacing: float) -> Layer:
    vector = np.asarray(slip, dtype=np.float64)
    if vector.shape != (2,):
        raise UsageError(f"a slip has two components, (x, y) in Å; got shape {vector.shape}")
    x, y = rotation_matrix(lower.twist) @ vector + lower.position
    return Layer(upper, (float(x), float(y)), lower.twist + float(twist), lower.z + float(spacing))


def _fill(layer: Layer, frame: FloatArray, origin: FloatArray, half: FloatArray) -> tuple[FloatArray, SiteArray]:
    """Positions and sites of one layer's atoms with -half <= (x, y) < half in the image frame."""
    cell = layer.cell @ frame.T
    basis = layer.positions
    basis[:, :2] = basis[:, :2] @ frame.T + origin
    corners = np.array([(x, y) for x in (-half[0], half[0]) for y in (-half[1], half[1])])
    # Lattice coordinates of the field's corners, seen from each atom of the cell, bound those of every copy inside.
    coordinates = (corners[:, None] - basis[None, :, :2]) @ np.linalg.inv(cell)
    low, high = np.floor(coordinates.min(axis=(0, 1))), np.ceil(coordinates.max(axis=(0, 1)))
    steps = np.stack(np.meshgrid(*(np.arange(lo, hi + 1) for lo, hi in zip(low, high, strict=True)), indexing="ij"), -1)
    translations = steps.reshape(-1, 2) @ cell
    positions = np.tile(basis, (len(translations), 1))
    positions[:, :2] += np.repeat(translations, len(basis), axis=0)
    sites = np.tile(np.arange(len(basis)), len(translations))
    inside = ((positions[:, :2] >= -half) & (positions[:, :2] < half)).all(axis=1)
    return positions[inside], sites[inside]


def _same_lattice(cell: FloatArray, other: FloatArray) -> bool:
    steps = other @ np.linalg.inv(cell)
    whole = np.round(steps)
    return bool(np.abs(steps - whole).max() < LATTICE_TOLERANCE and abs(round(np.linalg.det(whole))) == 1)
