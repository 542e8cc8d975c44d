"""Images without noise whose columns are known exactly, and their recordings: what benchmarks/atoms_set.py makes."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.errors import FileError
from picostem.files import read_image
from picostem.image import Acquisition, Image
from picostem.simulate import AcquisitionSettings, Microscope, acquire

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

REACH = 0.7
"""Å from a column, at most half of the distance to the nearest other, within which an atom counts as found."""


@dataclass(frozen=True, eq=False)
class AtomCase:
    """An image without noise and its truth.

    Attributes:
        clean: detected fractions of the beam. place: row and column of every site, pixels, shape (n, 2). species: what
            is there, as `picostem.atoms.columns` names it, empty where nothing is, shape (n,). site: the same of the
            perfect crystal. crystal: name or structure file, None where none is told. dose: the full one, e/Å².
    """

    name: str
    clean: Image
    place: FloatArray
    species: NDArray[np.str_]
    site: NDArray[np.str_]
    microscope: Microscope
    crystal: str | None
    dose: float

    @classmethod
    def read(cls, path: Path, truth: dict[str, Any]) -> AtomCase:
        """The case of a truth file."""
        columns, crystal = truth["columns"], truth["crystal"]
        beside = path.parent / str(crystal)
        return cls(
            path.stem,
            replace(read_image(path.with_suffix(".tif")), acquisition=Acquisition()),
            np.column_stack([columns["row"], columns["col"]]).astype(np.float64),
            np.array(columns["species"], dtype=np.str_),
            np.array(columns["site"], dtype=np.str_),
            _microscope(truth["microscope"]),
            str(beside) if crystal is not None and beside.is_file() else crystal,
            float(truth["acquisition"]["full_dose_e_per_A2"]),
        )

    @property
    def pixel(self) -> float:
        """Å."""
        assert self.clean.pixel_size is not None
        return self.clean.pixel_size[0]

    @property
    def reach(self) -> float:
        """Pixels from a column within which an atom counts as found."""
        return min(REACH / self.pixel, self.spacing / 2)

    @property
    def spacing(self) -> float:
        """Median distance of nearest sites, pixels."""
        return float(np.median(cKDTree(self.place).query(self.place, k=2)[0][:, 1]))

    def inside(self, margin: float = 0.0) -> BoolArray:
        """Sites in the image, at least `margin` Å from its border, shape (n,)."""
        far = margin / self.pixel - 0.5
        return np.asarray(np.all((self.place > far) & (self.place < np.array(self.clean.data.shape) - 1 - far), axis=1))

    @property
    def truth_class(self) -> NDArray[np.str_]:
        """Class of every site: its column; `S1` where one atom of S2 is left, `no S2` where none; or `W, other`."""
        pairs = zip(self.species.tolist(), self.site.tolist(), strict=True)
        return np.array([_class(species, site) for species, site in pairs])

    def recorded(self, share: float, seed: int) -> Image:
        """The image with its electrons counted, at a share of the full dose."""
        rng = np.random.default_rng([seed, zlib.crc32(f"{self.name} {share:.6g}".encode())])
        settings = AcquisitionSettings(dose=self.dose * share)
        data = acquire(self.clean.data, (self.clean.data.shape[0], self.clean.data.shape[1]), self.pixel, settings, rng)
        return replace(self.clean, data=data)


def load_atom_cases(folder: Path) -> list[AtomCase]:
    """The cases of a folder, by name.

    Raises:
        FileError: there are none, or a truth file is not readable.
    """
    cases = []
    for path in sorted(folder.glob("*.json")):
        try:
            truth = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"{path}: cannot be read as JSON ({error})") from error
        if isinstance(truth, dict) and truth.get("task") == "atoms" and path.with_suffix(".tif").is_file():
            cases.append(AtomCase.read(path, truth))
    if not cases:
        raise FileError(
            f"{folder}: expected images NAME.tif with the truth of their columns NAME.json, found none: make them with "
            f"benchmarks/atoms_set.py"
        )
    return cases


def _class(species: str, site: str) -> str:
    if not species or species == site:
        return species or f"no {site}"
    there, perfect = (set(re.findall("[A-Z][a-z]?", name)) for name in (species, site))
    if not there <= perfect:
        return f"{site}, other"
    return species if species[-1].isdigit() else f"{species}1"


def _microscope(truth: dict[str, Any]) -> Microscope:
    aberrations = truth["aberrations"]
    return Microscope.from_lab_units(
        voltage_kV=truth["kV"],
        semiangle_mrad=truth["semiangle_mrad"],
        detector_mrad=(truth["detector_mrad"][0], truth["detector_mrad"][1]),
        defocus_A=truth["defocus_A"],
        C12_A=aberrations["C12_A"],
        phi12_deg=aberrations["phi12_deg_image"],
        C21_A=aberrations["C21_A"],
        phi21_deg=aberrations["phi21_deg_image"],
        C30_A=aberrations["C30_A"],
        source_fwhm_A=truth["source_fwhm_A"],
    )
