"""4D-STEM data by multislice, with the truth about every scan point, as atoms around it tell it.

Scan and detector have x right and y up: scan point (i, j) lies at x = (j - (cols - 1)/2) step, y = ((rows - 1)/2 - i)
step; pixel (r, c) of a pattern at kx = (c - c0) dk, ky = (c0 - r) dk, the optic axis on the middle pixel c0. Potentials
come from abTEM: pip install "picostem[sim]". Atoms stand still, there is no inelastic scattering.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from picostem.errors import UsageError
from picostem.physics import MRAD
from picostem.simulate.conditions import microscope_truth
from picostem.simulate.microscope import Microscope
from picostem.simulate.propagation import POTENTIAL_MARGIN, ScanField, Slices, detector_shares, exit_spectra
from picostem.simulate.specimen import Columns, Specimen
from picostem.simulate.truth4d import DEFECT_REACH, KINDS, ORDERS, told_columns, truth_maps
from picostem.simulate.writing import write_whole

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
Progress = Callable[[str, int, int], object]

REACH = 2
"""Half a pattern's side over the semiangle."""
ADF = (1.5, 4.0)
"""Inner and outer angle of the annular detector over the semiangle; waves are kept up to the outer one."""
_WINDOW = 14.2
"""Least side of a window in focus, in wavelength/semiangle, as in `MultisliceSettings`."""
_NODES = 5
"""Of the defocus spread."""


@dataclass(frozen=True)
class Scan4DSettings:
    """What is scanned, and how it is recorded.

    Attributes:
        field: width and height, Å.
        step: distance of scan points, Å.
        electrons: incident in each pattern; infinite for patterns without noise.
        detector_pixel: angle of a pixel, rad; None takes semiangle/16.25, which leaves no pixel on its rim. The window
            that a probe is propagated in is wavelength/detector_pixel wide and must hold the probe.
        defocus_spread: standard deviation of the defocus, Å: patterns of 5 Gauss-Hermite nodes are averaged.
        slice_thickness: Å, at most.

    Raises:
        UsageError: a length or a number of electrons that is not positive.
    """

    field: tuple[float, float] = (12.3, 12.8)
    step: float = 0.3
    electrons: float = 1e4
    detector_pixel: float | None = None
    defocus_spread: float = 0.0
    slice_thickness: float = 2.0

    def __post_init__(self) -> None:
        positive = (*self.field, self.step, self.electrons, self.slice_thickness, self.detector_pixel or 1)
        if not all(one > 0 for one in positive) or not math.isfinite(sum(self.field) / self.step):
            raise UsageError(f"expected positive lengths, angles and electrons, got {self}")
        if not self.defocus_spread >= 0:
            raise UsageError(f"the defocus spread must not be negative, got {self.defocus_spread} Å")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the scan."""
        width, height = (max(1, round(length / self.step)) for length in self.field)
        return height, width

    def pixel_for(self, microscope: Microscope) -> float:
        """Angle of a pixel, rad."""
        return self.detector_pixel or microscope.semiangle / 16.25

    def side(self, microscope: Microscope) -> float:
        """Side of the square that the specimen must fill, Å."""
        blur = 2 * _blur_margin(microscope)
        return max(self.field) + blur + microscope.wavelength / self.pixel_for(microscope) + 4 * POTENTIAL_MARGIN


@dataclass(frozen=True, eq=False)
class Simulated4D:
    """A scan and the truth about it.

    Attributes:
        patterns: counted electrons (uint16, or uint32 for more than 30000 a pattern) or, without noise, the share of
            the beam (float32), shape (rows, cols, k, k).
        pixel: of the detector, 1/Å. step: of the scan, Å.
        maps: truth of scan points, each of shape (rows, cols): those of `truth4d.truth_maps`, and "adf", the noise-free
            share of the beam on the annular detector.
        truth: all else, ready for JSON.
    """

    patterns: NDArray[Any]
    pixel: float
    step: float
    maps: dict[str, NDArray[Any]]
    truth: dict[str, Any]


def corrected_microscope(voltage_eV: float, semiangle: float, **more: float) -> Microscope:
    """A microscope whose annular detector goes with its semiangle (rad), as ADF says; more: as of `Microscope`."""
    return Microscope(voltage_eV, semiangle, ADF[0] * semiangle, ADF[1] * semiangle, **more)


def simulate_scan4d(
    specimen: Specimen,
    microscope: Microscope,
    settings: Scan4DSettings,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> Simulated4D:
    """Patterns of a scan, blurred by the source, averaged over the defocus spread and counted.

    Args:
        specimen: atoms over a square of `Scan4DSettings.side`.
        microscope: source and aberrations, referred to z = 0. Its outer detector angle limits the waves that are kept;
            it must be REACH semiangles 2^(1/2) or more, to the corners of the patterns.
        settings: see `Scan4DSettings`.
        rng: draws the electrons.
        progress: told what is done, how much of it, and of how much.

    Raises:
        UsageError: a window too small for the probe, a detector that is too small, or abTEM is not installed.
    """
    pixel = settings.pixel_for(microscope)
    _check(specimen, microscope, settings)
    signals = _signals(specimen, microscope, settings, progress or (lambda *_: None))
    count = 2 * _half(microscope, pixel) + 1
    clean = signals[..., :-1].reshape(*settings.shape, count, count)
    patterns = _counted(clean, settings.electrons, rng) if math.isfinite(settings.electrons) else clean
    columns = specimen.columns()
    width = 0.305 * microscope.wavelength / microscope.semiangle
    maps = {**truth_maps(columns, *_axes(settings), width, specimen.defect), "adf": signals[..., -1].copy()}
    truth = _truth(specimen, columns, microscope, settings, width, count)
    return Simulated4D(patterns, pixel / microscope.wavelength, settings.step, maps, truth)


def write_scan4d(folder: Path, name: str, scan: Simulated4D) -> tuple[Path, Path, Path]:
    """Write NAME.npy (patterns), NAME.json (truth) and NAME.npz (maps of the truth), each completely or not at all.

    Raises:
        OutputError: a file cannot be written.
    """
    data, text, maps = (folder / f"{name}{suffix}" for suffix in (".npy", ".json", ".npz"))
    document = json.dumps({"name": name, "file": data.name, "maps": maps.name, **scan.truth}, indent=1)
    write_whole(data, lambda path: np.save(path, scan.patterns))
    write_whole(maps, lambda path: np.savez_compressed(path, allow_pickle=False, **scan.maps))
    write_whole(text, lambda path: path.write_text(document + "\n", "utf-8"))
    return data, text, maps


def _check(specimen: Specimen, microscope: Microscope, settings: Scan4DSettings) -> None:
    depth = float(np.ptp(specimen.atoms.positions[:, 2])) if len(specimen.atoms) else 0.0
    out_of_focus = abs(microscope.defocus) + 2 * settings.defocus_spread + depth
    need = _WINDOW * microscope.wavelength / microscope.semiangle + 2 * microscope.semiangle * out_of_focus
    most = microscope.wavelength / need
    if settings.pixel_for(microscope) > most * (1 + 1e-9):
        raise UsageError(
            f"a detector pixel of {settings.pixel_for(microscope) / MRAD:.3g} mrad is too coarse for this probe, whose "
            f"window must be {need:.0f} Å wide: choose at most {most / MRAD:.3g} mrad, and bin the patterns"
        )
    if microscope.detector_outer < REACH * 2**0.5 * microscope.semiangle:
        raise UsageError(
            f"waves are kept up to the outer detector angle, {microscope.detector_outer / MRAD:g} mrad: choose at "
            f"least {REACH * 2**0.5 * microscope.semiangle / MRAD:.0f} mrad"
        )


def _half(microscope: Microscope, pixel: float) -> int:
    """Pixels on each side of the middle one."""
    return math.floor(REACH * microscope.semiangle / pixel + 1e-9)


def _blur_margin(microscope: Microscope) -> float:
    return 4 * microscope.source_sigma


def _axes(settings: Scan4DSettings, margin: int = 0, finer: int = 1) -> tuple[FloatArray, FloatArray]:
    """x of scan columns and y of scan rows, Å, with a margin around them, all in steps that are finer."""
    rows, cols = (finer * (n - 1) + 1 + 2 * margin for n in settings.shape)
    step = settings.step / finer
    x, y = (np.arange(cols) - (cols - 1) / 2) * step, ((rows - 1) / 2 - np.arange(rows)) * step
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _signals(specimen: Specimen, microscope: Microscope, settings: Scan4DSettings, progress: Progress) -> FloatImage:
    """Share of the beam on every pixel and on the annular detector, shape (rows, cols, pixels + 1).

    Patterns have no faster waves over the scan than 2 semiangle/wavelength: sampled finer than that, they are blurred
    without error but at the borders, where the field goes on as in a mirror, 4 sigma away.
    """
    finer = math.ceil(settings.step * 2 * microscope.cutoff / 0.9) if microscope.source_sigma else 1
    step = settings.step / finer
    margin = math.ceil(_blur_margin(microscope) / step)
    x, y = _axes(settings, margin, finer)
    positions = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    signals = _scanned(specimen, microscope, settings, positions, progress).reshape(len(y), len(x), -1)
    if not microscope.source_sigma:
        return signals
    for axis in (0, 1):
        wave = np.pi * np.arange(signals.shape[axis]) / signals.shape[axis] * microscope.source_sigma / step
        damping = np.exp(-(wave**2) / 2).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        signals = fft.idct(fft.dct(signals, axis=axis) * damping, axis=axis, overwrite_x=True)
    inner = slice(margin, -margin, finer)
    return np.maximum(signals[inner, inner], 0)


def _scanned(
    specimen: Specimen, microscope: Microscope, settings: Scan4DSettings, positions: FloatArray, progress: Progress
) -> FloatImage:
    """Signals of a point source at positions (n, 2), Å, shape (n, pixels + 1)."""
    pixel = settings.pixel_for(microscope)
    grid = ScanField.around(positions, microscope, microscope.wavelength / pixel)
    slices = Slices.of(specimen.atoms, grid, microscope, settings.slice_thickness)
    annulus = detector_shares(grid, microscope)
    shown = np.arange(-_half(microscope, pixel), _half(microscope, pixel) + 1)
    signals = np.zeros((len(positions), len(shown) ** 2 + 1), np.float32)
    focus = list(_focus(microscope, settings.defocus_spread))
    for turn, (weight, one) in enumerate(focus):
        for index, spectrum in enumerate(exit_spectra(slices, grid, one, positions)):
            intensity = spectrum.real**2 + spectrum.imag**2
            signals[index, :-1] += weight * intensity[shown, -shown[:, None]].ravel()
            signals[index, -1] += weight * np.vdot(annulus, intensity)
            if index % 50 == 0:
                progress("probes", turn * len(positions) + index, len(focus) * len(positions))
    return signals


def _focus(microscope: Microscope, spread: float) -> Iterator[tuple[float, Microscope]]:
    """Microscopes over the spread of the defocus, with their weights."""
    if spread == 0:
        yield 1.0, microscope
        return
    node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    for at, share in zip(node.tolist(), (weight / weight.sum()).tolist(), strict=True):
        yield share, replace(microscope, defocus=microscope.defocus + spread * at)


def _counted(clean: FloatImage, electrons: float, rng: np.random.Generator) -> NDArray[Any]:
    counts = np.empty(clean.shape, np.uint16 if electrons <= 3e4 else np.uint32)
    for row, shares in zip(counts, clean, strict=True):
        row[:] = rng.poisson(electrons * shares.astype(np.float64))
    return counts


def _truth(
    specimen: Specimen, columns: Columns, microscope: Microscope, settings: Scan4DSettings, width: float, count: int
) -> dict[str, Any]:
    pixel = settings.pixel_for(microscope) / microscope.wavelength
    optics = microscope_truth(microscope)
    optics["aberrations"]["convention"] = "abTEM polar; defocus = -C10, referred to z = 0; angles ccw, image frame"
    return {
        "task": "4d",
        "structure": specimen.name,
        "source": specimen.source,
        "defect": {"kind": specimen.defect, "x_A": 0.0, "y_A": 0.0} if specimen.defect else None,
        "scan": {"shape_rows_cols": list(settings.shape), "step_A": settings.step},
        "detector": {
            "shape": [count, count],
            "centre": [(count - 1) / 2] * 2,
            "matrix": [[0.0, pixel], [-pixel, 0.0]],
            "unit": "1/Å",
            "voltage_eV": microscope.voltage_eV,
        },
        "microscope": optics,
        "electrons_per_pattern": settings.electrons if math.isfinite(settings.electrons) else None,
        "defocus_spread_A": settings.defocus_spread,
        "kinds": list(KINDS),
        "defect_reach_A": DEFECT_REACH,
        "order_parameters": {"orders": list(ORDERS), "width_A": width},
        "columns": told_columns(columns, *_axes(settings)),
        "simulated": "picostem, multislice with potentials from abTEM",
    }
