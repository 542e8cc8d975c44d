"""What is asked of a scan of diffraction patterns, and all that is told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.physics import DEGREE, FloatArray
from picostem.stem4d.calibrate import Disk
from picostem.stem4d.com import CentreOfMass
from picostem.stem4d.compare import Agreement
from picostem.stem4d.dpc import ScanRotation
from picostem.stem4d.harmonics import ORDERS, Harmonics, Order
from picostem.stem4d.scan import Scan4D
from picostem.stem4d.settings import Likelihood, RVAESettings

if TYPE_CHECKING:
    from picostem.stem4d.model import RVAE, Alarms, Encoded

IntArray = NDArray[np.int64]

SCHEMA = "picostem.4d/1"
"""Of all files that an analysis is written to."""
SHOWN_ORDERS = (1, 2, 3, 4, 6)


@dataclass(frozen=True)
class ExploreSettings:
    """What is asked of a scan.

    Attributes:
        centre: (row, column) of the optic axis, pixels; None to find the bright disk.
        radius: of the outermost ring of the harmonics, in the detector's unit; None for the largest circle on it.
        semiangle: of the probe, rad: makes 1/Å of pixels, if the voltage is known and the disk found.
        symmetry: n where orientations are meant modulo 2 pi / n.
        latent, classes, steps: of the autoencoder, as `RVAESettings`. network: whether there is one.
        likelihood: of the autoencoder; "auto" is Poisson for counts and Gaussian for numbers that can be negative.
        seed: of all random numbers. device: as torch names it. electrons_per_count: as `centre_of_mass`.

    Raises:
        UsageError: numbers out of range.
    """

    centre: tuple[float, float] | None = None
    radius: float | None = None
    semiangle: float | None = None
    symmetry: int = 1
    latent: int = 2
    classes: int = 1
    likelihood: Likelihood | Literal["auto"] = "auto"
    network: bool = True
    steps: int = RVAESettings.steps
    seed: int = 0
    device: str = "auto"
    electrons_per_count: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("radius", self.radius), ("semiangle", self.semiangle)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value:g}; expected a positive number")
        self.rvae("poisson" if self.likelihood == "auto" else self.likelihood)

    def rvae(self, likelihood: Likelihood) -> RVAESettings:
        """Of the autoencoder; a training that is short warms up and validates sooner."""
        usual = RVAESettings()
        return RVAESettings(
            latent=self.latent,
            classes=self.classes,
            symmetry=self.symmetry,
            likelihood=likelihood,
            steps=self.steps,
            warm_up=min(usual.warm_up, self.steps // 4),
            validate_every=min(usual.validate_every, max(1, self.steps // 8)),
        )

    @property
    def broken(self) -> int:
        """Order of the symmetry whose breaking is mapped: half-turns where none is declared."""
        return max(self.symmetry, 2)

    @property
    def orders(self) -> tuple[int, ...]:
        """Of the harmonics that are mapped."""
        return tuple(sorted({*SHOWN_ORDERS, min(self.symmetry, ORDERS)}))


@dataclass(frozen=True, eq=False)
class Field:
    """Differential phase contrast, all of shape (rows, columns); a plane of descan is taken off.

    Attributes:
        divergence, curl: in the detector's unit per Å, or per scan position where the step is unknown.
        phase: rad; or the integral in the units that there are. phase_unit: its unit.
    """

    divergence: FloatArray
    curl: FloatArray
    phase: FloatArray
    phase_unit: str


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained autoencoder, what it says of every position, and its alarms; clusters: groups of positions with like
    latents, those that are active, shape (n,); of classes if none is."""

    model: RVAE
    found: Encoded
    alarms: Alarms
    clusters: IntArray


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that is told of a scan.

    Attributes:
        scan: calibrated as far as it could be. counted: whether its values are counts. pattern: mean, shape of the
            detector. disk: the bright disk, None if there is none.
        com: centres of mass; None without counts. field: DPC; None where that cannot be. rotation: the detector's
            against the scan, None where it cannot be told.
        inner: radius from which the dark field counts, in the detector's unit. bright, dark: sums within the disk and
            beyond `inner`, shape (rows, columns).
        harmonics: of electrons. orders: harmonics of every pattern. breaking: of the symmetry `settings.broken`.
        unusual: by how many standard deviations a position differs from those at the same place of other unit cells,
            None where nothing repeats, NaN where too few cells tell.
        learned: the autoencoder; None where there is none. agreements: of active latents with maps. notes: what the
            user should know.
    """

    settings: ExploreSettings
    scan: Scan4D
    counted: bool
    pattern: FloatArray
    disk: Disk | None
    com: CentreOfMass | None
    field: Field | None
    rotation: ScanRotation | None
    inner: float
    bright: FloatArray
    dark: FloatArray
    harmonics: Harmonics
    orders: tuple[Order, ...]
    breaking: FloatArray
    unusual: FloatArray | None
    learned: Learned | None
    agreements: tuple[Agreement, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def momentum_unit(self) -> str:
        """Of centres of mass: mrad where the voltage is known."""
        return self.scan.detector.unit if self.scan.detector.mrad is None else "mrad"

    def maps(self) -> dict[str, FloatArray | IntArray]:
        """All maps by name, shape (rows, columns), angles in degrees; NaN where something is not known."""
        maps: dict[str, FloatArray | IntArray] = {"bright": self.bright, "dark": self.dark}
        if self.com is not None:
            unit = self.scan.detector.mrad or 1.0
            maps |= {"com_x": self.com.kx * unit, "com_y": self.com.ky * unit}
            maps |= {f"com_{axis}_sigma": self.com.error[..., k] * unit for k, axis in enumerate("xy")}
            maps["counts"] = self.com.counts
        if self.field is not None:
            maps |= {"divergence": self.field.divergence, "curl": self.field.curl, "phase": self.field.phase}
        for one in self.orders:
            unknown = 1.0 if self.counted else np.nan
            maps[f"strength_{one.m}"] = one.strength
            maps[f"orientation_{one.m}_deg"] = one.angle / DEGREE
            maps[f"orientation_{one.m}_sigma_deg"] = one.angle_sigma / DEGREE * unknown
        maps[f"breaking_{self.settings.broken}"] = self.breaking
        if self.unusual is not None:
            maps["unusual"] = self.unusual
        return maps | self._learned_maps()

    def _learned_maps(self) -> dict[str, FloatArray | IntArray]:
        if self.learned is None:
            return {}
        found = self.learned.found
        flat: dict[str, FloatArray | IntArray] = {}
        for k in range(found.mean.shape[1]):
            flat |= {f"z{k}": found.mean[:, k], f"z{k}_sigma": found.sigma[:, k]}
        flat |= {"angle_deg": found.angle / DEGREE, "angle_sigma_deg": found.angle_sigma / DEGREE}
        flat |= {"evidence": found.evidence, "cluster": self.learned.clusters}
        if self.settings.classes > 1:
            flat |= {"class": found.classes.argmax(axis=1), "p_class": found.classes.max(axis=1)}
        return {name: values.reshape(self.scan.shape) for name, values in flat.items()}
