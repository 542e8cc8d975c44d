"""The microscope as the simulation needs it: probe, aberrations, source size and detector."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from picostem.errors import UsageError
from picostem.physics import DEGREE, KV, MRAD, SIGMA_PER_FWHM, electron_wavelength
from picostem.simulate.transfer import Aberrations


@dataclass(frozen=True)
class Microscope:
    """Probe and detector of an ADF-STEM image, in eV, rad and Å.

    The phase of the probe-forming aperture at angle a and azimuth phi (counter-clockwise in the image frame) is
    chi = 2 pi/lambda [a²/2 (C10 + C12 cos 2(phi - phi12)) + a³/3 C21 cos(phi - phi21) + a⁴/4 C30], C10 = -defocus, the
    wave exp(-i chi); the polar convention of abTEM. Aberrations are referred to z = 0, the mid-plane of layer 1.

    Attributes:
        voltage_eV: accelerating voltage.
        semiangle: convergence semiangle.
        detector_inner, detector_outer: half angles of the annular detector; inner > semiangle.
        defocus: Å, equal to -C10.
        C12, phi12, C21, phi21, C30: twofold astigmatism, coma and spherical aberration, as in chi.
        source_fwhm: full width at half maximum of the Gaussian source at the specimen.

    Raises:
        UsageError: for numbers that are not finite, or out of their physical order.
    """

    voltage_eV: float
    semiangle: float
    detector_inner: float
    detector_outer: float
    defocus: float = 0.0
    C12: float = 0.0
    phi12: float = 0.0
    C21: float = 0.0
    phi21: float = 0.0
    C30: float = 0.0
    source_fwhm: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in asdict(self).values()):
            raise UsageError(f"every number of a microscope must be finite, got {self}")
        if self.voltage_eV <= 0:
            raise UsageError(f"the accelerating voltage must be positive, got {self.voltage_eV} eV")
        if not 0 < self.semiangle < self.detector_inner < self.detector_outer < math.pi / 2:
            raise UsageError(
                "expected 0 < semiangle < inner < outer detector angle (annular dark field), got "
                f"{self.semiangle / MRAD:g}, {self.detector_inner / MRAD:g} and {self.detector_outer / MRAD:g} mrad"
            )
        if self.source_fwhm < 0:
            raise UsageError(f"the source width must not be negative, got {self.source_fwhm} Å")

    @classmethod
    def from_lab_units(
        cls,
        *,
        voltage_kV: float,
        semiangle_mrad: float,
        detector_mrad: tuple[float, float],
        defocus_A: float = 0.0,
        C12_A: float = 0.0,
        phi12_deg: float = 0.0,
        C21_A: float = 0.0,
        phi21_deg: float = 0.0,
        C30_A: float = 0.0,
        source_fwhm_A: float = 0.0,
    ) -> Microscope:
        """A microscope from the numbers on its panel; raises `UsageError` as the class does."""
        return cls(
            voltage_eV=voltage_kV * KV,
            semiangle=semiangle_mrad * MRAD,
            detector_inner=detector_mrad[0] * MRAD,
            detector_outer=detector_mrad[1] * MRAD,
            defocus=defocus_A,
            C12=C12_A,
            phi12=phi12_deg * DEGREE,
            C21=C21_A,
            phi21=phi21_deg * DEGREE,
            C30=C30_A,
            source_fwhm=source_fwhm_A,
        )

    @property
    def wavelength(self) -> float:
        """Electron wavelength in Å."""
        return electron_wavelength(self.voltage_eV)

    @property
    def cutoff(self) -> float:
        """Highest spatial frequency in an image, 2 semiangle/wavelength, in 1/Å."""
        return 2 * self.semiangle / self.wavelength

    @property
    def source_sigma(self) -> float:
        """Standard deviation of the Gaussian source in Å."""
        return self.source_fwhm * SIGMA_PER_FWHM

    def aberrations_at(self, z: float) -> Aberrations:
        """Aberrations that an atom at depth z (Å, along the beam) sees: C10 grows by z."""
        return Aberrations(
            C10=-self.defocus + z,
            C12a=self.C12 * math.cos(2 * self.phi12),
            C12b=self.C12 * math.sin(2 * self.phi12),
            C21a=self.C21 * math.cos(self.phi21),
            C21b=self.C21 * math.sin(self.phi21),
            C30=self.C30,
        )
