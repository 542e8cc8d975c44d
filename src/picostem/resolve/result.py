"""What `resolve` returns: plain frozen values, in Å, radians and electronvolts, and their JSON form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from picostem.image import Image
from picostem.physics import DEGREE
from picostem.resolve.model import OpticsSource
from picostem.resolve.settings import Settings
from picostem.structure.monolayer import Monolayer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SCHEMA = "picostem.result/1"

Verdict = Literal["slip", "twist", "monolayer", "unresolved"]
WindowStatus = Literal["ok", "edge", "unresolved", "vacuum", "untrusted"]


@dataclass(frozen=True)
class ResolvedLayer:
    """One layer as it lies in the image.

    Attributes:
        monolayer: its structure.
        rotation: of the crystal's x axis in the image, counter-clockwise, rad.
        mirrored: whether the crystal is seen mirrored.
        rows: lattice vectors a, b in the image as measured (distortion included), Å, image frame, shape (2, 2).
        position: Cartesian Å in layer 1's crystal frame, layer 1 at (0, 0).
        origin: where its lattice origin lies in the image, one near the centre, Å, image frame, shape (2,).
    """

    monolayer: Monolayer
    rotation: float
    mirrored: bool
    rows: FloatArray
    position: FloatArray
    origin: FloatArray


@dataclass(frozen=True)
class Interface:
    """The registry of two neighbouring layers.

    Attributes:
        lower, upper: layer numbers from 1 on.
        slip: Cartesian Å in the lower layer's crystal frame, the shortest modulo the lattice, for the order of
            the layers along the beam that fits best, shape (2,).
        slip_frac: the same in units of a and b.
        slip_covariance: Å², calibrated: Fisher information inflated by the residual.
        slip_bound: Cramér-Rao bound, square root of the trace, Å.
        slip_spread: rms deviation of the windows' slips from the mean beyond their errors, Å.
        equivalents: all slips that give the same image, shape (n, 2), Å.
        twist, twist_sigma: rotation of the upper layer relative to the lower one in the lower layer's crystal frame,
            counter-clockwise, rad; sigma is 0 where the layers share a lattice.
        twist_bound: Cramér-Rao bound of the twist, rad.
        twist_spread: rms deviation of the windows' twists from it beyond their errors, rad.
        twist_alternatives: other twists that the image does not exclude with odds of 1000 : 1, rad, shape (k,).
        strain, strain_sigma: of the upper layer's lattice relative to the lower one's, beyond what both materials
            imply, symmetric, lower layer's crystal frame, shape (2, 2), or None where the image cannot tell it; one
            standard deviation of a component.
        moire: vectors of the moiré superlattice as rows, Å, lower layer's crystal frame, shape (2, 2), or None.
    """

    lower: int
    upper: int
    slip: FloatArray
    slip_frac: FloatArray
    slip_covariance: FloatArray
    slip_bound: float
    slip_spread: float
    equivalents: FloatArray
    twist: float = 0.0
    twist_sigma: float = 0.0
    twist_bound: float = 0.0
    twist_spread: float = 0.0
    twist_alternatives: FloatArray = field(default_factory=lambda: np.zeros(0))
    strain: FloatArray | None = None
    strain_sigma: float = 0.0
    moire: FloatArray | None = None

    @property
    def slip_sigma(self) -> float:
        """Square root of the trace of the covariance, Å."""
        return float(np.sqrt(np.trace(self.slip_covariance)))


@dataclass(frozen=True)
class FittedMicroscope:
    """The microscope as the fit found it; each number with its standard deviation (0 where it was given).

    Angles of astigmatism and coma are counter-clockwise in the image frame, rad; aberrations refer to layer 1 and have
    the signs of abTEM.
    """

    voltage_eV: float
    semiangle: float
    semiangle_sigma: float
    source: OpticsSource
    defocus: float
    defocus_sigma: float
    C12: float
    C12_sigma: float
    phi12: float
    C21: float
    C21_sigma: float
    phi21: float
    source_fwhm: float
    source_fwhm_sigma: float


@dataclass(frozen=True)
class Alternative:
    """Another reading of the image, and how much worse it fits (chi² of all windows used)."""

    hypothesis: str
    delta_chi2: float
    detail: str = ""


@dataclass(frozen=True)
class Quality:
    """How well the model describes the image."""

    engine: Literal["fit", "net", "hybrid"]
    chi2_reduced: float
    explained: float
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Domain:
    """A region of one stacking.

    Attributes:
        windows: indices into the map. slip: mean, Å, crystal frame. slip_covariance: of the mean, Å².
        twist, twist_sigma: mean and its standard deviation, rad; both 0 where the layers share a lattice.
        centre: mean of its windows' centres, Å, image frame. share: of the map's resolved windows.
    """

    windows: IntArray
    slip: FloatArray
    slip_covariance: FloatArray
    centre: FloatArray
    share: float
    twist: float = 0.0
    twist_sigma: float = 0.0


@dataclass(frozen=True)
class Boundary:
    """A line where the stacking changes.

    Attributes:
        points: along the line, Å, image frame, shape (n, 2).
        domains: indices of the domains on its two sides.
    """

    points: FloatArray
    domains: tuple[int, int]


@dataclass(frozen=True)
class SlipMap:
    """Slips, and twists where the layers have lattices of their own, of one interface window by window.

    Attributes:
        row, col: centres of the windows, pixels, shape (n,).
        position: the same in Å, image frame, shape (n, 2).
        slip: Å, lower layer's crystal frame; of aligned layers the equivalent nearest to the interface's slip, of
            twisted ones the registry at the window's centre, continuous from window to window; shape (n, 2).
        covariance: Å², shape (n, 2, 2).
        chi2: reduced. status: one of WindowStatus each.
        fine: whether the window was added between the others, at a stacking boundary.
        window, stride: Å. grid: rows and columns of the coarse windows, which come first, rows slowest.
        domains, boundaries: regions of one stacking and the lines between them.
        interface: number of the interface, from 1 on.
        twist, twist_sigma: of each window, rad, shape (n,), or None for aligned layers.
        strain: of the upper layer relative to the lower one beyond the interface's own, from how the slip changes from
            window to window, symmetric, shape (n, 2, 2), or None.
        engine: whose slip, or twist of twisted layers, each window's is, "fit" or "net", shape (n,); None where all are
            the fit's. Where a network tells a twist and the fit does not hold, slip and covariance are NaN.
    """

    row: FloatArray
    col: FloatArray
    position: FloatArray
    slip: FloatArray
    covariance: FloatArray
    chi2: FloatArray
    status: NDArray[np.str_]
    fine: NDArray[np.bool_]
    window: float
    stride: float
    grid: tuple[int, int]
    domains: tuple[Domain, ...] = ()
    boundaries: tuple[Boundary, ...] = ()
    interface: int = 1
    twist: FloatArray | None = None
    twist_sigma: FloatArray | None = None
    strain: FloatArray | None = None
    engine: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        ok = int(np.count_nonzero(self.status == "ok"))
        return f"SlipMap({len(self)} windows of {self.window / 10:g} nm, {ok} ok, {len(self.domains)} domains)"


@dataclass(frozen=True)
class Result:
    """The stacking that an image shows, with all that it rests on.

    Attributes:
        verdict: what was found; `reason` says why, in a sentence, unless it is "slip" or "twist".
        image: with its calibration, the one from the lattice if there was none.
        pixel_size_lattice: Å per pixel as the lattice measures it, None if none was found.
        maps: one for each interface, all of the same windows; empty where none was made.
        simulated: the model imaged again on the image's pixels and intensity scale, shape (rows, columns), or None.
        seconds: what the steps took.
    """

    verdict: Verdict
    reason: str | None
    image: Image
    settings: Settings
    version: str
    pixel_size_lattice: float | None = None
    layers: tuple[ResolvedLayer, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    microscope: FittedMicroscope | None = None
    quality: Quality | None = None
    maps: tuple[SlipMap, ...] = ()
    simulated: NDArray[np.float32] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def map(self) -> SlipMap | None:
        """The map of the first interface, if there is one."""
        return self.maps[0] if self.maps else None

    def as_dict(self) -> dict[str, Any]:
        """The result in the form of `picostem.result/1`, ready for JSON."""
        from importlib import import_module

        return import_module("picostem.resolve.serialise").result_dict(self)  # type: ignore[no-any-return]

    def plot(self) -> Figure:
        """The picture of the result: image, model, residual, slip and map (matplotlib; needs no display)."""
        from importlib import import_module

        return import_module("picostem.report").plot(self)  # type: ignore[no-any-return]

    def save(self, folder: str | Path) -> Path:
        """Write all files of the result into a folder, as `picostem resolve` does, and return the folder."""
        from importlib import import_module

        return import_module("picostem.report").save_result(self, Path(folder))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        names = "/".join(dict.fromkeys(layer.monolayer.name for layer in self.layers))
        found = "; ".join(_in_short(i) for i in self.interfaces) if self.verdict in ("slip", "twist") else ""
        head = f"Result({self.verdict}" + (f": {names}, {found}" if found else "")
        if self.reason:
            head += f": {self.reason}"
        return ", ".join([head, *map(repr, self.maps)]) + ")"


def _in_short(interface: Interface) -> str:
    """`D = (1.200 ± 0.006, 1.900 ± 0.009) Å = 0.1 a + 0.2 b`, or `twist = 4.2000° ± 0.0120°`."""
    if interface.twist_sigma > 0:
        return f"twist = {interface.twist / DEGREE:.4f}° ± {interface.twist_sigma / DEGREE:.4f}°"
    (x, y), (p, q) = interface.slip, np.sqrt(np.diag(interface.slip_covariance))
    a, b = interface.slip_frac
    turned = f"twist = {interface.twist / DEGREE:g}°, " if interface.twist else ""
    return f"{turned}D = ({x:.3f} ± {p:.3f}, {y:.3f} ± {q:.3f}) Å = {a:.4f} a + {b:.4f} b"
