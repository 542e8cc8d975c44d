"""What a user asks of `resolve`; saved with every result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from picostem.errors import UsageError
from picostem.image import Acquisition
from picostem.physics import KV, MRAD, NM
from picostem.resolve.model import Optics, OpticsSource

LayerCount = Literal["auto", "1", "2", "3"]
Scattering = Literal["full", "independent"]
Engine = Literal["fit", "net", "hybrid"]

# What aberration-corrected microscopes that image 2D crystals use: voltage (kV) and semiangle (mrad). The first one is
# assumed while the lattice is looked for; the fit then decides between them.
USUAL_OPTICS = ((300, 22.0), (200, 24.0), (80, 30.0), (60, 32.0))
SEMIANGLE_SIGMA = 4.0 * MRAD  # how far a microscope's semiangle is from the usual one
DETECTOR = (1.7, 9.0)  # half angles of an annular dark-field detector over the semiangle, where they are not known


@dataclass(frozen=True)
class Settings:
    """What to resolve and how.

    Attributes:
        material: a built-in name or a structure file.
        pixel_size_A: Å per pixel; None takes the file's, or finds it from the lattice.
        voltage_kV, semiangle_mrad: None takes the file's, or fits them within what microscopes do.
        detector_mrad: inner and outer half angle; None takes the file's, or tries what is usual.
        window_nm, stride_nm: of the map's windows.
        layers: how many layers there are, or "auto" to let the image decide.
        scattering: "full", or "independent" for images that a linear model made, where no layer changes the beam that
            the next one meets.
        engine: what finds the slips of windows of layers on one lattice, or the twists of two like layers: "fit" of the
            model, "net", a trained network, or "hybrid", the fit, of slips from where a network says, and the network
            where the model does not describe a window.
        net: a trained network, by its folder, or by its name if it comes with the package; None takes the one that
            comes with the package for what the image shows.

    Raises:
        UsageError: for numbers out of range, or options that contradict each other.
    """

    material: str
    pixel_size_A: float | None = None
    voltage_kV: float | None = None
    semiangle_mrad: float | None = None
    detector_mrad: tuple[float, float] | None = None
    window_nm: float = 2.0
    stride_nm: float = 1.0
    layers: LayerCount = "auto"
    scattering: Scattering = "full"
    engine: Engine = "fit"
    net: str | None = None

    def __post_init__(self) -> None:
        for name, low, high, what in (
            ("pixel_size_A", 0.005, 1.0, "Å per pixel of an atomic-resolution image"),
            ("voltage_kV", 15.0, 400.0, "kV"),
            ("semiangle_mrad", 3.0, 80.0, "mrad"),
            ("window_nm", 0.8, 50.0, "nm"),
            ("stride_nm", 0.02, 50.0, "nm"),
        ):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                option = "--" + name.rsplit("_", 1)[0].replace("_", "-")
                raise UsageError(f"{option} is {value:g}; expected {low:g} to {high:g} ({what})")
        if self.layers not in get_args(LayerCount):
            raise UsageError(f"--layers is {self.layers!r}; expected auto, 1, 2 or 3")
        if self.scattering not in get_args(Scattering):
            raise UsageError(f"--scattering is {self.scattering!r}; expected full or independent")
        if self.engine not in get_args(Engine):
            raise UsageError(f"--engine is {self.engine!r}; expected fit, net or hybrid")
        if self.net is not None and self.engine == "fit":
            raise UsageError(f"--net {self.net} is not asked by --engine fit: give --engine net or hybrid, or no --net")

    @property
    def window(self) -> float:
        """Side of the windows, Å."""
        return self.window_nm * NM

    @property
    def stride(self) -> float:
        """Distance between the windows' centres, Å."""
        return self.stride_nm * NM

    def optics(self, acquisition: Acquisition) -> tuple[Optics, ...]:
        """The microscope if user or file say it, otherwise all that it may be, the likeliest first."""
        voltage = self.voltage_kV * KV if self.voltage_kV else acquisition.voltage_eV
        semiangle = self.semiangle_mrad * MRAD if self.semiangle_mrad else acquisition.semiangle
        given = bool(self.voltage_kV or self.semiangle_mrad)
        found: list[Optics] = []
        for kilovolt, milliradian in USUAL_OPTICS:
            v, a = voltage or kilovolt * KV, semiangle or milliradian * MRAD
            sigma = 0.0 if semiangle else SEMIANGLE_SIGMA
            inner, outer = self._detector(acquisition, a)
            known = bool(voltage and semiangle)
            source: OpticsSource = "fitted" if not known else "user" if given else "file"
            together = self.scattering == "full"
            optics = Optics(v, a, sigma, inner, outer, source, self.knows_detector(acquisition), together)
            if not any(optics.voltage_eV == other.voltage_eV for other in found):
                found.append(optics)
        return tuple(found)

    def knows_detector(self, acquisition: Acquisition) -> bool:
        """Whether user or file tell the detector's inner angle."""
        return self.detector_mrad is not None or acquisition.detector_inner is not None

    def _detector(self, acquisition: Acquisition, semiangle: float) -> tuple[float, float]:
        if self.detector_mrad is not None:
            inner, outer = (angle * MRAD for angle in self.detector_mrad)
            if not semiangle < inner < outer:
                raise UsageError(
                    f"--detector {self.detector_mrad[0]:g} {self.detector_mrad[1]:g} with a semiangle of "
                    f"{semiangle / MRAD:g} mrad; expected semiangle < inner < outer (annular dark field)"
                )
            return inner, outer
        inner = max(acquisition.detector_inner or DETECTOR[0] * semiangle, 1.05 * semiangle)
        return inner, max(acquisition.detector_outer or DETECTOR[1] * semiangle, 1.5 * inner)

    def as_dict(self) -> dict[str, object]:
        """The settings as they are written with a result."""
        return asdict(self)
