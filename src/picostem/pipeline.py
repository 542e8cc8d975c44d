"""READ FIRST: from an image to a result, the stages in order.

image ─► power spectrum ─► lattice, orientation, hand ─► microscope ─► which hypothesis: one layer, two or three on
         one lattice ─► slip in every window ─► domains and boundaries ─► slips with their errors ─► result
      ─► where one lattice does not explain it: layers with lattices of their own ─► joint fit ─► twist and registry in
         every window ─► result
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

from picostem.errors import DataError, UsageError
from picostem.files import check_image, from_array, read_image
from picostem.image import Image
from picostem.resolve.aligned import interfaces, layers, moved, other_orders, reaching_zero
from picostem.resolve.combine import CommonSlip, common_slip, told_slip
from picostem.resolve.estimate import Fit
from picostem.resolve.hypotheses import PARALLEL, alternatives, fit_hypotheses
from picostem.resolve.lattice import power_spectrum, same_setting
from picostem.resolve.map import Mapping
from picostem.resolve.microscope import fitted_microscope
from picostem.resolve.model import Optics
from picostem.resolve.orient import Setting, find_settings, fit_setting, turned_round
from picostem.resolve.parallel import side_by_side
from picostem.resolve.proposal import Proposer
from picostem.resolve.result import (
    Alternative,
    FittedMicroscope,
    Quality,
    Result,
)
from picostem.resolve.select import (
    Judgement,
    clearly_turned,
    judge_fit,
    judge_lattice,
    judge_layers,
    judge_twist,
    may_be_turned,
    nearly_described,
    two_lattices,
)
from picostem.resolve.settings import Settings
from picostem.resolve.square import squared, unsquared
from picostem.resolve.synthesis import synthesise
from picostem.resolve.twist_map import map_twist
from picostem.resolve.twist_result import (
    draw_again,
    twist_alternatives,
    twist_interfaces,
    twist_layers,
    twist_microscope,
    twist_slip_map,
)
from picostem.resolve.twist_told import ToldTwists, told_interface, with_told
from picostem.resolve.twisted import Twisted, aligned_cost, find_twisted, turned_about, with_third_layer
from picostem.resolve.window import window_starts
from picostem.structure.lattice import shortest
from picostem.structure.materials import load_materials
from picostem.structure.monolayer import Monolayer
from picostem.version import VERSION

FloatArray = NDArray[np.float64]
UNKNOWN = "The network does not know what any window shows: try --engine fit or hybrid."
Stage = Callable[[str, int, int], None]


def resolve(
    image: Image | NDArray[Any] | str | Path, material: str, *, progress: Stage | None = None, **options: Any
) -> Result:
    """Resolve the stacking of 2D crystals from one ADF-STEM image.

    Args:
        image: an `Image`, an array (rows, columns) or a file.
        material: a built-in name (see `picostem.material_names`), a CIF, POSCAR or xyz file, or two of them: MoS2/WSe2.
        progress: called with the stage's name, the windows done and all of them.
        options: the other fields of `Settings`: pixel_size_A, voltage_kV, semiangle_mrad, detector_mrad, window_nm,
            stride_nm, layers, scattering.

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
    materials = load_materials(settings.material)
    original = read_image(image) if isinstance(image, str | Path) else image
    original = original if isinstance(original, Image) else from_array(original)
    check_image(original)
    if settings.pixel_size_A is not None:
        original = original.with_pixel_size(settings.pixel_size_A, "user")
    clock.lap("read", then="lattice and microscope")
    task = _Task(squared(original), materials, settings, progress, clock)
    return replace(unsquared(_resolve_square(task), original), seconds=clock.laps)


class _Task:
    """An image with square pixels, its power spectrum, and what is asked of it."""

    def __init__(
        self,
        image: Image,
        materials: tuple[Monolayer, ...],
        settings: Settings,
        progress: Stage | None,
        clock: _Clock,
    ) -> None:
        if len(materials) > 2 or (len(materials) == 2 and settings.layers not in ("auto", "2")):
            raise UsageError(
                f"--material {settings.material} with --layers {settings.layers}: expected one material, or two for a "
                f"stack of two layers"
            )
        self.image, self.settings, self.clock = image, settings, clock
        self.nets = _nets(settings, materials)
        self.monolayer = materials[0]
        self.pair = (materials[0], materials[-1])
        self.data = image.data - np.float32(image.data.mean(dtype=np.float64))
        self.spectrum = power_spectrum(self.data)
        self.optics = settings.optics(image.acquisition)
        self.report = None if progress is None else lambda done, total: progress("windows", done, total)

    @property
    def pixel_size(self) -> float | None:
        """Å per pixel, if it is known."""
        return self.image.pixel_size[0] if self.image.pixel_size else None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.shape[0], self.data.shape[1]

    def with_pixel_size(self, found: float) -> Image:
        """The image with the pixel size that was found, unless it has one."""
        return self.image if self.image.pixel_size else self.image.with_pixel_size(found, "lattice")

    def unresolved(self, reason: str) -> Result:
        """What is said where nothing can be resolved."""
        return Result("unresolved", reason, self.image, self.settings, VERSION)


def _nets(settings: Settings, materials: tuple[Monolayer, ...]) -> tuple[Path, ...]:
    """Folders of the networks that may be asked."""
    if settings.engine == "fit":
        return ()
    from picostem.infer.engine import nets_for  # only where it is asked: it takes time to import

    if len(materials) > 1:
        raise UsageError(
            f"--engine {settings.engine} with --material {settings.material}: networks know layers of one material; "
            f"leave --engine out"
        )
    return nets_for(materials[0], settings.net)


def _proposer(task: _Task, setting: Setting) -> Proposer | None:
    """The network for the layers on one lattice that were found, if one is to be asked."""
    if task.settings.engine == "fit":
        return None
    from picostem.infer.engine import Engine

    return Engine.choose(task.nets, setting, alone=task.settings.engine == "net")


def _told_twists(
    task: _Task, found: Twisted, centres: FloatArray, window: float
) -> tuple[ToldTwists | None, tuple[str, ...]]:
    """What a network says of the windows of twisted layers, Å, if there is one to be asked; and notes for the user."""
    if task.settings.engine == "fit":
        return None, ()
    from picostem.infer.twists import TwistEngine

    engine = TwistEngine.choose(task.nets, found, named=task.settings.net is not None)
    if engine is None:
        return None, ()
    image = task.image.with_pixel_size(found.best.fitted_lattices[0].pixel_size, "lattice")
    told = engine(image, centres, window, found.best.twist)
    card = engine.net.card
    small = (
        f"net {card.name!r} reads patches of {card.extent_A:.0f} Å, which no window lies amid: the twist is the fit's"
    )
    return told, () if told else (small,)


def _resolve_square(task: _Task) -> Result:
    """Layers on one lattice first, which is the simpler reading; then layers with lattices of their own."""
    if task.pair[0] != task.pair[1]:
        return _twisted(task, None)
    candidates = _find(task)
    task.clock.lap("lattice and microscope", then="what the layers do together")
    reason = judge_lattice(candidates, task.spectrum, task.monolayer, task.image.pixel_size)
    if reason is not None:
        return _twisted(task, reason) if two_lattices(candidates, task.spectrum) else task.unresolved(reason)
    hypotheses = fit_hypotheses(candidates, task.settings.layers, task.optics)
    setting = hypotheses[0].setting
    task.clock.lap("what the layers do together", then="hypotheses")
    reason = judge_fit(setting, task.monolayer)
    if reason is not None:
        return _twisted(task, reason) if nearly_described(setting) else task.unresolved(reason)
    judgement = _judge(task, setting)
    task.clock.lap("hypotheses", then="windows")
    if judgement.verdict == "monolayer":
        setting = next((h.setting for h in hypotheses if h.name == PARALLEL), setting)
        return _monolayer(task, setting, judgement)
    if setting.model.layers[0] is not task.monolayer:
        setting = turned_round(setting, task.data, setting.model.layers[::-1])
        reason = judge_fit(setting, task.monolayer)
        if reason is not None:
            return task.unresolved(reason)
    rivals = (Alternative("one layer", judgement.monolayer_cost or 0.0), *alternatives(hypotheses))
    return _slip(task, setting, rivals)


def _twisted(task: _Task, reason: str | None) -> Result:
    """Layers with lattices of their own, if they explain the image; else why nothing does."""
    asked = task.settings.layers
    if asked == "1":
        return task.unresolved(reason or "One layer does not explain the image.")
    found = find_twisted(task.data, task.spectrum, task.pair, task.pixel_size, task.optics)
    refused = judge_twist(found)
    if found is not None and (asked == "3" or (asked == "auto" and refused and task.pair[0] == task.pair[1])):
        found = with_third_layer(found, task.monolayer)
        refused = judge_twist(found)
    task.clock.lap("twist", then="windows")
    if found is None or refused is not None:
        return task.unresolved(reason or refused or "")
    return _twist(task, found, ())


def _twist(task: _Task, found: Twisted, rivals: tuple[Alternative, ...]) -> Result:
    scale = found.best.fitted_lattices[0].pixel_size
    window, stride = (max(1, round(length / scale)) for length in (task.settings.window, task.settings.stride))
    window = min(window, *task.shape)
    windows = map_twist(found.whole, task.shape, found.best, window, stride, task.report)
    told, notes = _told_twists(task, found, windows[0].centres * scale, window * scale)
    alone = task.settings.engine == "net"
    if told is not None:
        if alone and not told.trusted.any():
            return task.unresolved(UNKNOWN)
        windows = (with_told(windows[0], told, alone),)
    task.clock.lap("map", then="simulated image")
    fine = windows
    if stride > 0.6 * window:
        fine = map_twist(found.whole, task.shape, found.best, window, max(1, window // 2), None)
    simulated = draw_again(found.best, fine[0], task.shape, window) + np.float32(task.image.data.mean(dtype=np.float64))
    maps = tuple(
        twist_slip_map(found, one, lower, task.shape, window * scale, task.settings.stride)
        for lower, one in enumerate(windows)
    )
    answer = twist_interfaces(found, maps)
    if told is not None:
        answer = (told_interface(answer[0], maps[0], told.side, alone),)
    image = task.with_pixel_size(scale)
    task.clock.lap("simulated image")
    return Result(
        "twist",
        None,
        replace(image, notes=(*image.notes, *notes)),
        task.settings,
        VERSION,
        pixel_size_lattice=scale,
        layers=twist_layers(found),
        interfaces=answer,
        microscope=twist_microscope(found),
        quality=Quality(
            "fit" if told is None else task.settings.engine,
            found.best.fit.chi2_reduced,
            found.explained,
            (*twist_alternatives(found), *rivals),
        ),
        maps=maps,
        simulated=simulated,
    )


def _find(task: _Task) -> list[Setting]:
    return find_settings(task.data, task.spectrum, task.pair, task.pixel_size, task.settings.window, task.optics)


def _judge(task: _Task, setting: Setting) -> Judgement:
    lattice, optics, layer = setting.lattice, _settled_optics(setting), (task.monolayer,)
    # a single polar layer may lie the other way round than the bilayer that would mimic it
    other = replace(lattice, rows=-lattice.rows)
    ways = [lattice] if same_setting(lattice, other, task.monolayer) else [lattice, other]
    window = task.settings.window
    ones = side_by_side(lambda way: fit_setting(task.data, task.spectrum, way, layer, window, optics), ways)
    one = min(ones, key=lambda s: s.fit.cost)
    judgement = judge_layers(one, setting)
    if task.settings.layers == "auto":
        return judgement
    if task.settings.layers == "1":
        return replace(judgement, verdict="monolayer", reason="One layer was asked for.")
    return replace(judgement, verdict="slip", reason=None)


def _settled_optics(setting: Setting) -> Optics:
    """The microscope with the semiangle that the fit found, no longer free."""
    value = dict(zip(setting.model.prior.names, setting.fit.state.microscope, strict=True))
    optics = setting.model.optics
    # the fit may have gone past where a dark-field detector begins; the object function needs one that does not
    semiangle = min(float(value.get("semiangle", optics.semiangle)), optics.inner / 1.05)
    return replace(optics, semiangle=semiangle, semiangle_sigma=0.0)


def _monolayer(task: _Task, setting: Setting, judgement: Judgement) -> Result:
    """One layer, with the slip that a second, nearly eclipsed one could have."""
    slips = setting.fit.state.slips
    near = (slips - np.rint(slips)) @ setting.model.cell
    common = common_slip(task.data, setting, setting.model.stackings.mean(near))
    twisted = _rather_twisted(task, setting, common)
    if twisted is not None:
        return _twist(task, *twisted)
    hidden = tuple(
        reaching_zero(one) for one in interfaces(common, shortest(common.slip, setting.model.stackings.cell), setting)
    )
    second = Alternative("two layers, nearly eclipsed", -(judgement.monolayer_cost or 0.0), "slip as in the interface")
    return Result(
        "monolayer",
        judgement.reason,
        task.with_pixel_size(setting.lattice.pixel_size),
        task.settings,
        VERSION,
        pixel_size_lattice=setting.lattice.pixel_size,
        layers=layers(setting, common.origin, ()),
        interfaces=hidden,
        microscope=_microscope(setting, common.fit),
        quality=Quality("fit", setting.fit.chi2_reduced, setting.explained, (second,)),
    )


def _slip(task: _Task, setting: Setting, rivals: tuple[Alternative, ...]) -> Result:
    mapping, refused = _mapping(task, setting)
    task.clock.lap("map", then="slip and boundaries")
    told = mapping.told()
    common = told_slip(setting, mapping.main()) if told else common_slip(task.data, setting, mapping.main_slip())
    twisted = _rather_twisted(task, setting, common)
    if twisted is not None:
        return _twist(task, *twisted)
    if isinstance(refused, DataError):
        raise refused
    if refused is not None:
        return task.unresolved(refused)
    slips = shortest(common.slip, setting.model.stackings.cell)
    answer = interfaces(common, slips, setting)
    maps = mapping.finish(slips, task.report)
    task.clock.lap("slip and boundaries", then="simulated image")
    simulated = _simulate_again(task, setting, mapping)
    task.clock.lap("simulated image")
    return Result(
        "slip",
        None,
        task.with_pixel_size(setting.lattice.pixel_size),
        task.settings,
        VERSION,
        pixel_size_lattice=setting.lattice.pixel_size,
        layers=layers(setting, common.origin, answer),
        interfaces=answer,
        microscope=_microscope(setting, common.fit),
        quality=Quality(
            task.settings.engine, common.fit.chi2_reduced, setting.explained, (*rivals, *other_orders(common))
        ),
        maps=tuple(moved(one, i.slip - slip) for one, i, slip in zip(maps, answer, slips, strict=True)),
        simulated=simulated,
    )


def _mapping(task: _Task, setting: Setting) -> tuple[Mapping, DataError | str | None]:
    """The windows of layers on one lattice; and why no network can be asked about them, or that it knows none.

    Then the windows are the fit's: that the layers are twisted may be why, and what another network is for.
    """

    def mapped(proposer: Proposer | None) -> Mapping:
        return Mapping(task.data, setting, task.settings, task.report, proposer)

    try:
        proposer = _proposer(task, setting)
    except DataError as error:
        from picostem.infer.folder import is_patch_net

        if not any(is_patch_net(folder) for folder in task.nets):
            raise
        return mapped(None), error
    mapping = mapped(proposer)
    return (mapped(None), UNKNOWN) if mapping.doubted() else (mapping, None)


def _rather_twisted(
    task: _Task, setting: Setting, common: CommonSlip
) -> tuple[Twisted, tuple[Alternative, ...]] | None:
    """The reading as two twisted layers, where that explains the image clearly better than layers on one lattice."""
    if task.settings.layers not in ("auto", "2") or not may_be_turned(common, setting, task.shape):
        return None
    optics = _settled_optics(setting)
    quick = turned_about(task.data, task.spectrum, task.pair, setting.lattice, optics)
    task.clock.lap("twist", then="slip and boundaries")
    if quick is None or not clearly_turned(quick, _aligned_cost(quick, setting, common)):
        return None
    found = find_twisted(task.data, task.spectrum, task.pair, setting.lattice.pixel_size, (optics,))
    task.clock.lap("twist", then="slip and boundaries")
    if found is None or judge_twist(found) is not None:
        return None
    cost = _aligned_cost(found, setting, common)
    return found, (Alternative(f"{setting.model.layer_count} layers on one lattice", cost),)


def _aligned_cost(found: Twisted, setting: Setting, common: CommonSlip) -> float:
    steps = np.linalg.solve(setting.model.cell.T, common.slip.T).T
    positions = common.origin + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return aligned_cost(found, setting.model.layers, setting.lattice, positions)


def _microscope(setting: Setting, fit: Fit) -> FittedMicroscope:
    covariance = fit.microscope_covariance * max(1.0, setting.fit.chi2_reduced)
    m = fitted_microscope(setting.model.prior.names, fit.state.microscope, covariance, setting.model.optics)
    jump = (setting.twin.defocus if setting.twin else 0.0) - m.defocus
    return replace(
        m,
        defocus_sigma=_two_sided(m.defocus_sigma, jump, setting),
        C12_sigma=_two_sided(m.C12_sigma, 2 * m.C12, setting),
    )


def _two_sided(sigma: float, jump: float, setting: Setting) -> float:
    """Standard deviation of a value that is `jump` away on the other side of focus, which may fit nearly as well."""
    if setting.twin is None:
        return sigma
    odds = np.exp(-min(setting.twin.cost / max(1.0, setting.fit.chi2_reduced), 100.0) / 2)
    share = odds / (1 + odds)
    return float(np.sqrt(sigma**2 + share * (1 - share) * jump**2))


def _simulate_again(task: _Task, setting: Setting, mapping: Mapping) -> NDArray[np.float32]:
    fits, window = mapping.coarse, setting.window
    if task.settings.stride > 0.6 * task.settings.window:
        starts = tuple(window_starts(n, window, max(1, window // 2)) for n in task.shape)
        fits = mapping.windows_at((starts[0], starts[1]))
    simulated = synthesise(task.shape, setting.lattice.reciprocal, setting.model.hk, fits, window)
    return simulated + np.float32(task.image.data.mean(dtype=np.float64))


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
