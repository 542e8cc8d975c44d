"""READ FIRST: from an image to a result, the stages in order.

image ─► power spectrum ─► lattice, orientation, hand ─► microscope ─► which hypothesis
      ─► slip in every window ─► domains and boundaries ─► one slip with its error ─► result
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from picostem.errors import UsageError
from picostem.files import check_image, from_array, read_image
from picostem.image import Image
from picostem.physics import SIGMA_PER_FWHM
from picostem.resolve.aligned import interfaces, layers, moved, other_orders
from picostem.resolve.combine import common_slip
from picostem.resolve.hypotheses import PARALLEL, alternatives, fit_hypotheses
from picostem.resolve.lattice import Spectrum, power_spectrum, same_setting
from picostem.resolve.map import Mapping
from picostem.resolve.model import Optics
from picostem.resolve.orient import Setting, find_settings, fit_setting, turned_round
from picostem.resolve.parallel import side_by_side
from picostem.resolve.result import (
    Alternative,
    FittedMicroscope,
    Quality,
    Result,
)
from picostem.resolve.select import Judgement, judge_fit, judge_lattice, judge_layers
from picostem.resolve.settings import Settings
from picostem.resolve.square import squared, unsquared
from picostem.resolve.synthesis import synthesise
from picostem.resolve.window import window_starts
from picostem.resolve.windows import fit_grid
from picostem.structure.lattice import shortest
from picostem.structure.materials import load_monolayer
from picostem.structure.monolayer import Monolayer
from picostem.version import VERSION

FloatArray = NDArray[np.float64]
Stage = Callable[[str, int, int], None]


def resolve(
    image: Image | NDArray[Any] | str | Path, material: str, *, progress: Stage | None = None, **options: Any
) -> Result:
    """Resolve the stacking of a bilayer from one ADF-STEM image.

    Args:
        image: an `Image`, an array (rows, columns) or a file.
        material: a built-in name (see `picostem.material_names`) or a CIF, POSCAR or xyz file.
        progress: called with the stage's name, the windows done and all of them.
        options: the other fields of `Settings`: pixel_size_A, voltage_kV, semiangle_mrad, window_nm, stride_nm, layers.

    Raises:
        UsageError: unknown material or option, numbers out of range.
        DataError: the file or the image cannot be used.
    """
    unknown = set(options) - set(Settings.__dataclass_fields__)
    if unknown:
        raise UsageError(
            f"unknown option {', '.join(sorted(unknown))}; expected {', '.join(Settings.__dataclass_fields__)}"
        )
    return resolve_with(image, Settings(material=material, **options), progress)


def resolve_with(image: Image | NDArray[Any] | str | Path, settings: Settings, progress: Stage | None = None) -> Result:
    """`resolve` with its options in a `Settings`."""
    # the matrices are small: BLAS threads would wait for each other; windows run side by side instead
    with threadpool_limits(1, user_api="blas"):
        return _resolve(image, settings, progress)


def _resolve(image: Image | NDArray[Any] | str | Path, settings: Settings, progress: Stage | None) -> Result:
    clock = _Clock(progress)
    monolayer = load_monolayer(settings.material)
    original = read_image(image) if isinstance(image, str | Path) else image
    original = original if isinstance(original, Image) else from_array(original)
    check_image(original)
    if settings.pixel_size_A is not None:
        original = original.with_pixel_size(settings.pixel_size_A, "user")
    clock.lap("read", then="lattice and microscope")
    square = squared(original)
    return unsquared(_resolve_square(square, monolayer, settings, progress, clock), original)


def _resolve_square(
    taken: Image, monolayer: Monolayer, settings: Settings, progress: Stage | None, clock: _Clock
) -> Result:
    data = taken.data - np.float32(taken.data.mean(dtype=np.float64))
    spectrum = power_spectrum(data)
    candidates = _find(data, spectrum, monolayer, taken, settings)
    clock.lap("lattice and microscope", then="what the layers do together")

    reason = judge_lattice(candidates, spectrum, monolayer, taken.pixel_size)
    if reason is not None:
        return Result("unresolved", reason, taken, settings, VERSION, seconds=clock.laps)
    hypotheses = fit_hypotheses(candidates, settings.layers, settings.optics(taken.acquisition))
    setting = hypotheses[0].setting
    clock.lap("what the layers do together", then="hypotheses")
    reason = judge_fit(setting, monolayer)
    if reason is not None:
        return Result("unresolved", reason, taken, settings, VERSION, seconds=clock.laps)
    if taken.pixel_size is None:
        taken = taken.with_pixel_size(setting.lattice.pixel_size, "lattice")
    judgement = _judge(data, spectrum, monolayer, setting, settings)
    clock.lap("hypotheses", then="windows")

    if judgement.verdict == "monolayer":
        setting = next((h.setting for h in hypotheses if h.name == PARALLEL), setting)
        return replace(_monolayer(data, taken, setting, settings, judgement), seconds=clock.laps)
    if setting.model.layers[0] is not monolayer:
        setting = turned_round(setting, data, setting.model.layers[::-1])
    rivals = (Alternative("one layer", judgement.monolayer_cost or 0.0), *alternatives(hypotheses))
    result = _slip(data, taken, setting, settings, rivals, progress, clock)
    return replace(result, seconds=clock.laps)


def _find(
    data: NDArray[np.float32], spectrum: Spectrum, monolayer: Monolayer, image: Image, settings: Settings
) -> list[Setting]:
    pixel_size = image.pixel_size[0] if image.pixel_size else None
    optics = settings.optics(image.acquisition)
    return find_settings(data, spectrum, (monolayer, monolayer), pixel_size, settings.window, optics)


def _judge(
    data: NDArray[np.float32], spectrum: Spectrum, monolayer: Monolayer, setting: Setting, settings: Settings
) -> Judgement:
    lattice, optics = setting.lattice, _settled_optics(setting)
    # a single polar layer may lie the other way round than the bilayer that would mimic it
    other = replace(lattice, rows=-lattice.rows)
    ways = [lattice] if same_setting(lattice, other, monolayer) else [lattice, other]
    ones = side_by_side(lambda way: fit_setting(data, spectrum, way, (monolayer,), settings.window, optics), ways)
    one = min(ones, key=lambda s: s.fit.cost)
    judgement = judge_layers(one, setting)
    if settings.layers == "auto":
        return judgement
    if settings.layers == "1":
        return replace(judgement, verdict="monolayer", reason="One layer was asked for.")
    return replace(judgement, verdict="slip", reason=None)


def _settled_optics(setting: Setting) -> Optics:
    """The microscope with the semiangle that the fit found, no longer free."""
    value = dict(zip(setting.model.prior.names, setting.fit.state.microscope, strict=True))
    optics = setting.model.optics
    # the fit may have gone past where a dark-field detector begins; the object function needs one that does not
    semiangle = min(float(value.get("semiangle", optics.semiangle)), optics.inner / 1.05)
    return replace(optics, semiangle=semiangle, semiangle_sigma=0.0)


def _monolayer(
    data: NDArray[np.float32], image: Image, setting: Setting, settings: Settings, judgement: Judgement
) -> Result:
    """One layer, with the slip that a second, nearly eclipsed one could have."""
    slips = setting.fit.state.slips
    near = (slips - np.rint(slips)) @ setting.model.cell
    common = common_slip(data, setting, setting.model.stackings.mean(near))
    hidden = interfaces(common, shortest(common.slip, setting.model.stackings.cell), setting)
    second = Alternative("two layers, nearly eclipsed", -(judgement.monolayer_cost or 0.0), "slip as in the interface")
    return Result(
        "monolayer",
        judgement.reason,
        image,
        settings,
        VERSION,
        pixel_size_lattice=setting.lattice.pixel_size,
        layers=layers(setting, common.origin, ()),
        interfaces=hidden,
        microscope=_microscope(setting, common.fit.state.microscope, common.fit.microscope_covariance),
        quality=Quality("fit", setting.fit.chi2_reduced, setting.explained, (second,)),
    )


def _slip(
    data: NDArray[np.float32],
    image: Image,
    setting: Setting,
    settings: Settings,
    rivals: tuple[Alternative, ...],
    progress: Stage | None,
    clock: _Clock,
) -> Result:
    report = None if progress is None else lambda done, total: progress("windows", done, total)
    mapping = Mapping(data, setting, settings, report)
    clock.lap("map", then="slip and boundaries")
    common = common_slip(data, setting, mapping.main_slip())
    slips = shortest(common.slip, setting.model.stackings.cell)
    found = interfaces(common, slips, setting)
    maps = mapping.finish(slips, report)
    clock.lap("slip and boundaries", then="simulated image")
    simulated = _simulate_again(data, image, setting, mapping, settings)
    clock.lap("simulated image")
    return Result(
        "slip",
        None,
        image,
        settings,
        VERSION,
        pixel_size_lattice=setting.lattice.pixel_size,
        layers=layers(setting, common.origin, found),
        interfaces=found,
        microscope=_microscope(setting, common.fit.state.microscope, common.fit.microscope_covariance),
        quality=Quality("fit", common.fit.chi2_reduced, setting.explained, (*rivals, *other_orders(common))),
        maps=tuple(moved(one, i.slip - slip) for one, i, slip in zip(maps, found, slips, strict=True)),
        simulated=simulated,
    )


def _microscope(setting: Setting, microscope: FloatArray, covariance: FloatArray) -> FittedMicroscope:
    inflation = max(1.0, setting.fit.chi2_reduced)
    value = dict(zip(setting.model.prior.names, microscope, strict=True))
    sigma = dict(zip(setting.model.prior.names, np.sqrt(np.diag(covariance) * inflation), strict=True))
    optics = setting.model.optics
    c12, c21 = complex(value["C12a"], value["C12b"]), complex(value["C21a"], value["C21b"])
    width = np.sqrt(max(value["variance"], 1e-4))
    other = setting.twin.defocus if setting.twin else 0.0
    return FittedMicroscope(
        voltage_eV=optics.voltage_eV,
        semiangle=float(value.get("semiangle", optics.semiangle)),
        semiangle_sigma=float(sigma.get("semiangle", 0.0)),
        source=optics.source,
        defocus=-float(value["C10"]),
        defocus_sigma=_two_sided(float(sigma["C10"]), other + float(value["C10"]), setting),
        C12=abs(c12),
        C12_sigma=_two_sided(float(np.hypot(sigma["C12a"], sigma["C12b"]) / np.sqrt(2)), 2 * abs(c12), setting),
        phi12=float(np.angle(c12) / 2),
        C21=abs(c21),
        C21_sigma=float(np.hypot(sigma["C21a"], sigma["C21b"]) / np.sqrt(2)),
        phi21=float(np.angle(c21)),
        source_fwhm=float(width / SIGMA_PER_FWHM),
        source_fwhm_sigma=float(sigma["variance"] / (2 * width) / SIGMA_PER_FWHM),
    )


def _two_sided(sigma: float, jump: float, setting: Setting) -> float:
    """Standard deviation of a value that is `jump` away on the other side of focus, which may fit nearly as well."""
    if setting.twin is None:
        return sigma
    odds = np.exp(-min(setting.twin.cost / max(1.0, setting.fit.chi2_reduced), 100.0) / 2)
    share = odds / (1 + odds)
    return float(np.sqrt(sigma**2 + share * (1 - share) * jump**2))


def _simulate_again(
    data: NDArray[np.float32], image: Image, setting: Setting, mapping: Mapping, settings: Settings
) -> NDArray[np.float32]:
    fits, window = mapping.coarse, setting.window
    if settings.stride > 0.6 * settings.window:
        starts = tuple(window_starts(n, window, max(1, window // 2)) for n in data.shape)
        fits = fit_grid(data, setting, setting.fit.state.slips, (starts[0], starts[1]))
    simulated = synthesise((data.shape[0], data.shape[1]), setting.lattice.reciprocal, setting.model.hk, fits, window)
    return simulated + np.float32(image.data.mean(dtype=np.float64))


class _Clock:
    """Seconds that the steps took; tells which one comes next."""

    def __init__(self, progress: Stage | None) -> None:
        self._progress = progress
        self.laps: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, name: str, then: str | None = None) -> None:
        """The step `name` is done, `then` begins."""
        if self._progress is not None and then is not None:
            self._progress(then, 0, 0)
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 4)
        self.laps["total"] = round(now - self._start, 4)
        self._last = now
