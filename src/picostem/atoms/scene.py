"""Random images of atoms with the truth about them, drawn in some hundredths of a second, for a network to learn from.

Every column of a specimen scatters with its own strength, the sum of Z^n over its atoms; all are blurred by one probe:

    I^(g) = O(g) exp(-2 pi² (s² + u²) g²) sum_j w_j exp(-2 pi i g.r_j)

| symbol | meaning |
|---|---|
| O | autocorrelation of the aberrated aperture, the symbols of `picostem.simulate.transfer` |
| s, u | source size and thermal displacement, rms along one axis, Å |
| w_j, r_j | strength and place of atom j |

What scatters like that is thin, and n stands for the detector; `picostem.simulate` has the exact numbers, which take
longer than a network has time for. The recording with its noise and distortion is `picostem.simulate.acquire`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, sparse
from scipy.spatial import cKDTree

from picostem.atoms.settings import ScenePlan
from picostem.atoms.specimens import (
    DEPLETED,
    SINGLE,
    STACK,
    VACANCY,
    Plane,
    Specimen,
    built_in_planes,
    chosen_planes,
    damaged,
    random_plane,
    scattered,
    tiled,
)
from picostem.physics import KV, MRAD
from picostem.simulate.acquisition import AcquisitionSettings, acquire, clean_shape
from picostem.simulate.gridding import PointSpectrum
from picostem.simulate.microscope import Microscope

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MERGED = 0.3  # Å: atoms nearer than that in projection are one column
BLURRED = 1.6  # standard deviations of a peak: of two columns nearer than that, an image shows one
RIVAL = 0.25  # of a column's strength, from which a neighbour so near makes it unsure
SEEN, SURE = 2.5, 5.0  # standard deviations of the noise: from which a column may, and should be found
THERMAL = 0.1  # Å, rms displacement along one axis
MARGIN = 4.0  # Å around the image in which atoms still count
FADED = 1e-3  # of the source's transfer: what higher frequencies have left does not show
FINE = 0.8  # of the Nyquist distance: pixels that a distorted scan is interpolated from
LEAST_APART = 2.0  # standard deviations of a peak between the columns of a crystal
WIDEST = 0.8  # Å, standard deviation of a peak
TRIES = 12


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and its columns, each array of shape (n,) unless it says otherwise.

    Attributes:
        data: grey levels, shape (rows, columns). pixel_size: Å. sigma: standard deviation of a peak, pixels.
        place: row and column, pixels, shape (n, 2). strength: electrons that the column scatters to the detector, or
            would if a vacancy's atoms were there.
        kind: index into `picostem.atoms.specimens.KINDS`. sure: whether a column stands out of noise and neighbours;
            of the others nobody can say whether they are there.
    """

    data: NDArray[np.float32]
    pixel_size: float
    sigma: float
    place: FloatArray
    strength: FloatArray
    kind: IntArray
    sure: BoolArray


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns of a specimen: place, Å, shape (n, 2); strength, shape (n,), of a vacancy what is missing; kind, (n,)."""

    place: FloatArray
    strength: FloatArray
    kind: IntArray

    @property
    def scattering(self) -> FloatArray:
        """Strength of what is there, shape (n,)."""
        return np.where(self.kind == VACANCY, 0.0, self.strength)


@dataclass(frozen=True, eq=False)
class _Field:
    """What a scene shows and how large that is: pixels of the image, and finer ones of the image without noise."""

    shape: tuple[int, int]
    pixel_size: float
    settings: AcquisitionSettings
    refine: int
    grid: PointSpectrum

    @classmethod
    def of(cls, shape: tuple[int, int], pixel_size: float, settings: AcquisitionSettings, cutoff: float) -> _Field:
        fine = FINE if settings.is_distorted else 1.0
        refine = max(1, math.ceil(2 * cutoff * pixel_size / fine * 1.01))
        step = pixel_size / refine
        clean = cls._clean(shape, settings, refine)
        counts = [fft.next_fast_len(n + 2 * math.ceil(MARGIN / step), real=True) for n in clean]
        return cls(shape, pixel_size, settings, refine, PointSpectrum((counts[0], counts[1]), step, cutoff))

    @staticmethod
    def _clean(shape: tuple[int, int], settings: AcquisitionSettings, refine: int) -> tuple[int, int]:
        if settings.is_distorted:
            return clean_shape(shape, settings, refine)
        return (shape[0] - 1) * refine + 1, (shape[1] - 1) * refine + 1

    @property
    def clean(self) -> tuple[int, int]:
        """Pixels of the image without noise."""
        return self._clean(self.shape, self.settings, self.refine)

    @property
    def half(self) -> FloatArray:
        """Å in x and y from the centre that atoms must reach to."""
        return np.asarray(self.grid.extent / 2)

    def place(self, points: FloatArray) -> FloatArray:
        """Row and column of points, Å, in the image."""
        scanned = points @ np.linalg.inv(self.settings.drift).T / self.pixel_size
        return (np.array(self.shape) - 1) / 2 + scanned[:, ::-1] * (-1, 1)

    def levels(self, clean: FloatArray, points: FloatArray) -> FloatArray:
        """Values of the image without noise at points, Å."""
        at = (np.array(clean.shape) - 1) / 2 + points[:, ::-1] * (-1, 1) / (self.pixel_size / self.refine)
        row, column = np.clip(np.rint(at), 0, np.array(clean.shape) - 1).astype(int).T
        return np.asarray(clean[row, column])


def draw_scene(rng: np.random.Generator, plan: ScenePlan, shape: tuple[int, int] | None = None) -> Scene:
    """A random scene.

    Args:
        rng: draws all of it. shape: rows and columns; None for a square as large as the plan says.
    """
    plane = _plane(rng, plan)
    microscope, sigma_A = _microscope(rng, 3.0 if plane is None else plane.bond)
    pixel_size = math.exp(rng.uniform(*np.log(plan.pixel_A)))
    side = math.ceil(plan.extent_A / pixel_size)
    settings = _recording(rng, plan)
    field = _Field.of(shape or (side, side), pixel_size, settings, _cutoff(microscope))
    columns = _columns(_specimen(plane, field.half, plan.defects, rng), rng)
    return _recorded(columns, field, microscope, sigma_A, rng)


def _plane(rng: np.random.Generator, plan: ScenePlan) -> Plane | None:
    """A crystal, from files, built in or of no kind that there is; None for atoms without order."""
    if plan.crystals and rng.random() < plan.share:
        planes = chosen_planes(plan.crystals)
    elif rng.random() < 0.1:
        return None
    elif rng.random() < 0.3:
        return random_plane(rng)
    else:
        planes = built_in_planes()
    return planes[int(rng.integers(len(planes)))]


def _specimen(plane: Plane | None, half: FloatArray, defects: float, rng: np.random.Generator) -> Specimen:
    """Atoms with defects; now and then two layers of the crystal on top of one another."""
    if plane is None:
        atoms = damaged(scattered(rng, half), half, rng, most=defects)
        return atoms[~atoms.gone]  # without order nobody can say what is missing

    def grain() -> Specimen:
        return tiled(plane, rng.uniform(0, 2 * np.pi), rng.uniform(-3, 3, 2), half)

    specimen = grain()
    if rng.random() < 0.1:
        turn = rng.uniform(0, 2 * np.pi)
        specimen = tiled(plane, turn, rng.uniform(-3, 3, 2), half) + tiled(plane, turn, rng.uniform(-3, 3, 2), half)
    return damaged(specimen, half, rng, most=defects, twin=grain)


def _microscope(rng: np.random.Generator, bond: float) -> tuple[Microscope, float]:
    """A microscope, if it can be one that resolves columns `bond` Å apart, and a peak's standard deviation, Å."""
    for attempt in range(TRIES):
        worst = 1 - attempt / TRIES
        microscope = Microscope(
            voltage_eV=rng.choice([40, 60, 80, 100, 200, 300]) * KV,
            semiangle=rng.uniform(20, 36) * MRAD,
            detector_inner=80 * MRAD,
            detector_outer=200 * MRAD,
            defocus=worst * rng.normal(0, 30),
            C12=worst * abs(rng.normal(0, 10)),
            phi12=rng.uniform(0, np.pi),
            C21=worst * abs(rng.normal(0, 120)),
            phi21=rng.uniform(0, 2 * np.pi),
            source_fwhm=rng.uniform(0.3, 0.4 + 0.6 * worst),
        )
        grid = PointSpectrum((48, 48), 12.0 / 48, min(_cutoff(microscope), 1.99))
        transfer = _transfer(grid, microscope)
        # Of a Gaussian, minus its curvature over its height.
        bend = np.sum(2 * np.pi**2 * grid.g**2 * transfer.real) / np.sum(transfer.real)
        sigma = float(1 / np.sqrt(max(bend, 1.0)))
        if sigma < min(WIDEST, bond / LEAST_APART):
            break
    return microscope, sigma


def _cutoff(microscope: Microscope) -> float:
    """Highest spatial frequency that shows, 1/Å."""
    faded = math.sqrt(-math.log(FADED) / 2) / (math.pi * math.hypot(microscope.source_sigma, THERMAL))
    return min(microscope.cutoff, faded)


def _transfer(grid: PointSpectrum, m: Microscope) -> NDArray[np.complex128]:
    """The probe's transfer, source and thermal motion included, at a grid's frequencies: an autocorrelation by FFT."""
    count = [fft.next_fast_len(math.ceil(2 * m.cutoff * side) + 2) for side in grid.extent[::-1]]
    ky, kx = (fft.fftfreq(n, side / n) for n, side in zip(count, grid.extent[::-1], strict=True))
    k, phi = np.hypot(kx, ky[:, None]), np.arctan2(-ky[:, None], kx)
    a = m.wavelength * k
    chi = a**2 / 2 * (m.C12 * np.cos(2 * (phi - m.phi12)) - m.defocus) + a**3 / 3 * m.C21 * np.cos(phi - m.phi21)
    inside = np.clip((m.semiangle / m.wavelength - k) * grid.extent.min() + 0.5, 0, 1)
    probe = np.abs(fft.fft2(inside * np.exp(-2j * np.pi / m.wavelength * chi))) ** 2
    overlap = fft.ifft2(probe)
    row, column = np.rint(-grid.gy * grid.extent[1]).astype(int), np.rint(grid.gx * grid.extent[0]).astype(int)
    blur = np.exp(-2 * np.pi**2 * (m.source_sigma**2 + THERMAL**2) * grid.g**2)
    return np.asarray(overlap[row, column] / overlap[0, 0] * blur)


def _recording(rng: np.random.Generator, plan: ScenePlan) -> AcquisitionSettings:
    """Noise, and in half of all scenes a distorted scan; the dose is in electrons per median column."""
    dose = math.exp(rng.uniform(*np.log(plan.counts)))
    still = AcquisitionSettings(
        dose=dose,
        gain=10 ** rng.uniform(-2, 3),
        offset=rng.normal(0, 100),
        read_noise=rng.uniform(0, 0.05) * math.sqrt(dose) if rng.random() < 0.5 else 0.0,
    )
    if rng.random() < 0.5:
        return still
    drift = np.eye(2) + rng.normal(0, 0.02, (2, 2))
    return replace(
        still,
        jitter=rng.uniform(0, 0.4),
        line_offset=rng.uniform(0, 0.5),
        line_jitter=rng.uniform(0, 0.3),
        drift=((drift[0, 0], drift[0, 1]), (drift[1, 0], drift[1, 1])),
    )


def _columns(specimen: Specimen, rng: np.random.Generator) -> _Columns:
    """Atoms nearer than MERGED made one, at their centre of mass."""
    count = len(specimen.place)
    pairs = cKDTree(specimen.place).query_pairs(MERGED, output_type="ndarray") if count else np.empty((0, 2), int)
    graph = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups, label = sparse.csgraph.connected_components(graph, directed=False)
    left = np.bincount(label, ~specimen.gone, groups)
    counted = ~specimen.gone | (left[label] == 0)
    weight = specimen.numbers.astype(np.float64) ** rng.uniform(1.4, 1.9) * counted
    strength = np.bincount(label, weight, groups)
    middle = [np.bincount(label, weight * x, groups) for x in specimen.place.T]
    kind = np.where(np.bincount(label, minlength=groups) > 1, STACK, SINGLE)
    np.maximum.at(kind, label, np.where(specimen.gone, DEPLETED, specimen.kind))
    kind[left == 0] = VACANCY
    place = np.stack(middle, axis=1) / strength[:, None]
    return _Columns(place, strength / (np.median(strength) if groups else 1.0), kind)


def _recorded(
    columns: _Columns, field: _Field, microscope: Microscope, sigma_A: float, rng: np.random.Generator
) -> Scene:
    """Columns on a support, seen by a microscope."""
    thickness = 1 + rng.uniform(0, 0.4) * _uneven(field.clean, rng) if rng.random() < 0.3 else np.ones(field.clean)
    support, clutter = _support(field, sigma_A, rng)
    points = np.concatenate([columns.place, support.place])
    weights = np.concatenate([columns.scattering, support.strength])
    spectrum = field.grid.of(points, weights)[1] * _transfer(field.grid, microscope).astype(np.complex64)
    height = 1 / (2 * np.pi * sigma_A**2)  # of the median column
    clean = np.maximum(field.grid.image(spectrum, field.clean), 0) * thickness
    clean += height * np.exp(rng.uniform(np.log(0.01), np.log(1.0)))
    if rng.random() < 0.4:
        clean += height * rng.uniform(0, 1.5) * _uneven(field.clean, rng)
    data = acquire(clean.astype(np.float32), field.shape, field.pixel_size, field.settings, rng, field.refine)
    return _told(columns, field, sigma_A, clutter, clean, data)


def _told(
    columns: _Columns, field: _Field, sigma_A: float, clutter: float, clean: FloatArray, data: NDArray[np.float32]
) -> Scene:
    """A scene with those columns that may be seen."""
    place = field.place(columns.place)
    inside = np.all((place > -0.5) & (place < np.array(field.shape) - 0.5), axis=1)
    dose, pixel = field.settings.dose, field.pixel_size
    level = dose * pixel**2 * field.levels(clean, columns.place) + field.settings.read_noise**2
    noise = np.sqrt(level * 4 * np.pi * (sigma_A / pixel) ** 2 + (dose * clutter) ** 2)
    score = dose * columns.strength / noise
    rivalled = _rivalled(columns.place, columns.scattering, BLURRED * sigma_A)
    sure = (score > SURE) & ~rivalled
    told = inside & (score > SEEN) & ~(rivalled & (columns.kind == VACANCY))
    return Scene(
        data, pixel, sigma_A / pixel, place[told], dose * columns.strength[told], columns.kind[told], sure[told]
    )


def _rivalled(place: FloatArray, strength: FloatArray, reach: float) -> BoolArray:
    """Columns with a neighbour within `reach` Å that is not much fainter, shape (n,)."""
    out = np.zeros(len(place), dtype=bool)
    if len(out):
        one, other = cKDTree(place).query_pairs(reach, output_type="ndarray").T
        out[one[strength[other] > RIVAL * strength[one]]] = True
        out[other[strength[one] > RIVAL * strength[other]]] = True
    return out


def _support(field: _Field, sigma_A: float, rng: np.random.Generator) -> tuple[_Columns, float]:
    """Light atoms anywhere under the specimen, in a third of all scenes, and the grains that they make.

    Grains are the standard deviation of what a filter like a peak takes for a column's strength.
    """
    if rng.random() > 1 / 3:
        return _Columns(np.empty((0, 2)), np.empty(0), np.empty(0, dtype=np.int64)), 0.0
    clutter, density = rng.uniform(0, 0.2), math.exp(rng.uniform(math.log(0.1), math.log(1.0)))
    count = int(density * 4 * field.half.prod())
    each = clutter / (sigma_A * math.sqrt(math.pi * density))
    place = rng.uniform(-field.half, field.half, (count, 2))
    return _Columns(place, np.full(count, each), np.zeros(count, dtype=np.int64)), clutter


def _uneven(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A smooth random field from 0 to 1."""
    coarse = rng.random((int(rng.integers(2, 7)), int(rng.integers(2, 7))))
    row, column = (np.linspace(0, m - 1, n) for m, n in zip(coarse.shape, shape, strict=True))
    return np.clip(_stretched(_stretched(coarse, row).T, column).T, 0, 1)


def _stretched(values: FloatArray, at: FloatArray) -> FloatArray:
    """Rows of values, interpolated by cubic splines at fractional indices, shape (len(at), columns)."""
    spline = ndimage.spline_filter1d(values, order=3, axis=0, mode="mirror")
    index = np.broadcast_to(at[:, None], (len(at), values.shape[1]))
    across = np.broadcast_to(np.arange(values.shape[1]), index.shape)
    return np.asarray(ndimage.map_coordinates(spline, [index, across], order=3, prefilter=False, mode="mirror"))
