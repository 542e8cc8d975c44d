"""All that is told of a scan of diffraction patterns: `analyse` calls the stages in order.

scan ─► mean pattern, centres of mass ─► bright disk, descan ─► virtual images ─► scan rotation, DPC
                                                                                     │
             numbers that compare ◄─ autoencoder: latents, angle, classes ◄─ angular harmonics
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from picostem.errors import DataError, OutputError
from picostem.physics import DEGREE, FloatArray, electron_wavelength
from picostem.stem4d.analysis import Analysis, ExploreSettings, Field, Learned
from picostem.stem4d.calibrate import Disk, find_descan, find_disk, with_centre, with_descan
from picostem.stem4d.com import CentreOfMass, centre_of_mass, descan_plane
from picostem.stem4d.compare import Agreement, agreements, clusters
from picostem.stem4d.dpc import ScanRotation, derivatives, integrate, phase, scan_rotation
from picostem.stem4d.harmonics import Harmonics, Order, angular_harmonics
from picostem.stem4d.moments import accumulate
from picostem.stem4d.repeat import unusual
from picostem.stem4d.scan import Scan4D
from picostem.stem4d.settings import Likelihood, RVAESettings
from picostem.stem4d.virtual import annular
from picostem.training import CHECKPOINT
from picostem.version import VERSION

Report = Callable[[str, int, int], object]
"""Called with a stage, how much of it is done, and all; all is 0 where that is not known."""

FEWEST = 16
"""Scan positions."""
NEGATIVE = 0.01
"""Share of negative numbers in the mean pattern, or of patterns with a negative sum, that counts do not have."""
BEYOND = 1.1
"""Radii of the bright disk from which on the dark field counts: the disk's edge is not sharp."""
TILES = 4
WANDERS = (0.25, 3.0)
"""Pixels, and standard errors, from which on the disk is said to move over the scan."""
TURNED = (1 * DEGREE, 3.0)
"""Angle, and standard errors, from which on the detector is said to be turned against the scan."""
TOLD_ANGLE, TOLD_SIGN, TOLD_CURL, TOLD_FLIP = 3 * DEGREE, 6.0, 0.25, 0.05
"""What a scan's rotation needs to be believed: standard error, standard errors of its sign, share of the curl, by how
much the other flip has more of it."""
MARK = "data.sha256"
"""In the folder of a training: what it is trained on."""


def analyse(
    scan: Scan4D,
    settings: ExploreSettings | None = None,
    *,
    folder: Path | None = None,
    report: Report | None = None,
) -> Analysis:
    """Everything about a scan; it is read three or four times, block by block.

    Args:
        folder: of the autoencoder's training, which goes on where it was stopped; None keeps none.
        report: told of progress.

    Raises:
        DataError: fewer than FEWEST positions, values that are not finite, patterns that are all alike, no counts.
        UsageError: settings that do not fit the scan.
    """
    started = time.monotonic()
    settings, tell = settings or ExploreSettings(), report or (lambda *_: None)
    if math.prod(scan.shape) < FEWEST:
        size = " × ".join(map(str, scan.shape))
        raise DataError(f"{scan.name}: the scan has {size} positions: {FEWEST} or more are needed for maps")
    notes: list[str] = []
    tell("centres of mass", 0, 0)
    com = centre_of_mass(scan, electrons_per_count=settings.electrons_per_count)
    counted = _are_counts(scan, com)
    _check_likelihood(scan, com, counted, settings, notes)
    tell("bright disk", 0, 0)
    scan, disk = _placed(scan, com if counted else None, settings, notes)
    com = replace(com, detector=scan.detector, descan=scan.descan)
    tell("virtual images", 0, 0)
    inner, bright, dark = _virtual(scan, disk, notes)
    rotation = _turned(com, dark, notes) if counted else None
    if rotation is not None:
        scan = replace(scan, detector=rotation.applied(scan.detector))
        com = replace(com, detector=scan.detector)
    field = _field(com, notes) if counted else None
    found = _harmonics(scan, settings, tell)
    orders, breaking = _symmetry(found, counted, settings)
    tell("what repeats", 0, 0)
    seen = com.vectors if counted else np.stack([one.value.real for one in orders], axis=-1)
    odd = unusual(np.concatenate([seen, dark[..., None]], axis=-1))
    likelihood: Likelihood = (
        settings.likelihood if settings.likelihood != "auto" else "poisson" if counted else "gaussian"
    )
    rng = np.random.default_rng(settings.seed)
    learned = _learned(found, settings, likelihood, folder, rng, tell, notes)
    compared: tuple[Agreement, ...] = ()
    if learned is not None:
        tell("comparison", 0, 0)
        maps = {f"strength {one.m}": one.strength for one in orders}
        maps |= {f"breaking {settings.broken}": breaking, "dark field": dark}
        maps |= {"|CoM|": np.linalg.norm(com.vectors, axis=-1)} if counted else {}
        active = np.flatnonzero(learned.alarms.active).tolist()
        compared = agreements({f"z{k}": learned.found.mean[:, k] for k in active}, maps, rng)
    return Analysis(
        settings, scan, counted, com.pattern, disk, com if counted else None, field, rotation, inner, bright, dark,
        found, orders, breaking, odd, learned, compared, tuple(notes), time.monotonic() - started,
    )  # fmt: skip


def _are_counts(scan: Scan4D, com: CentreOfMass) -> bool:
    """Whether the values can be counts; raises `DataError` if some are not finite."""
    if not np.isfinite(com.counts).all():
        raise DataError(f"{scan.name}: values that are not finite: replace them by 0, or leave their pixels out")
    negative, total = np.maximum(-com.pattern, 0).sum(), np.abs(com.pattern).sum()
    return bool(total > 0 and negative <= NEGATIVE * total and np.mean(com.counts < 0) <= NEGATIVE)


def _check_likelihood(
    scan: Scan4D, com: CentreOfMass, counted: bool, settings: ExploreSettings, notes: list[str]
) -> None:
    if not counted:
        notes.append(
            "values below zero are no counts: no centres of mass, DPC, bright disk and shot noise, and the "
            "autoencoder takes Gaussian noise"
        )
        if settings.network and settings.likelihood in ("poisson", "bernoulli"):
            raise DataError(f"{scan.name}: values below zero are no counts: take likelihood gaussian or auto")
    elif settings.likelihood == "bernoulli" and com.pattern.max() > 1:
        raise DataError(f"{scan.name}: likelihood bernoulli is for values from 0 to 1: take poisson, gaussian or auto")
    elif np.dtype(scan.data.dtype).kind == "f" and settings.electrons_per_count == 1:
        notes.append("the values are no whole numbers: errors hold if one is one electron (else electrons per count)")


def _placed(
    scan: Scan4D, com: CentreOfMass | None, settings: ExploreSettings, notes: list[str]
) -> tuple[Scan4D, Disk | None]:
    """The scan with its optic axis on the bright disk, and the disk, if there is one."""
    disk = None
    try:
        disk = find_disk(com.pattern, scan.detector.mask) if com is not None else None
    except DataError as failure:
        notes.append(str(failure).split(":")[0])
    if disk is None and settings.centre is None:
        where = "at the centre of mass of all patterns" if com else "in the middle, unless the file says where"
        notes.append(f"the optic axis is taken to be {where}")
    if settings.centre is not None:
        scan = with_centre(scan, settings.centre)
    elif disk is not None:
        scan = _descanned(with_centre(scan, disk.centre), notes)
    elif com is not None:
        row, column = np.nansum(com.pixels * com.counts[..., None], axis=(0, 1)) / com.counts.sum()
        scan = with_centre(scan, (float(row), float(column)))
    return _scaled(scan, disk, settings, notes), disk


def _descanned(scan: Scan4D, notes: list[str]) -> Scan4D:
    """The scan with the wandering of its bright disk, where that is more than its errors."""
    try:
        descan = find_descan(scan, TILES)
    except DataError:
        return scan
    reach = np.array(scan.shape) - 1
    moved, error = np.abs(descan.matrix[:, 1:]) * reach, descan.error[:, 1:] * reach
    if not (moved > np.maximum(WANDERS[0], WANDERS[1] * error)).any():
        return scan
    notes.append(f"the disk wanders over the detector by {moved.sum(axis=1).max():.2g} pixels: taken off")
    return with_descan(scan, descan)


def _scaled(scan: Scan4D, disk: Disk | None, settings: ExploreSettings, notes: list[str]) -> Scan4D:
    """The scan with its detector in 1/Å by the probe's semiangle, if that is given."""
    voltage = scan.detector.voltage_eV
    if settings.semiangle is None:
        return scan
    if disk is None or voltage is None:
        notes.append("the semiangle calibrates nothing: that needs the bright disk and the voltage")
        return scan
    matrix = np.asarray(scan.detector.matrix)
    per_pixel = settings.semiangle / electron_wavelength(voltage) / disk.radius
    matrix = matrix * (per_pixel / math.sqrt(abs(np.linalg.det(matrix))))
    return replace(scan, detector=replace(scan.detector, matrix=matrix, unit="1/Å"))


def _virtual(scan: Scan4D, disk: Disk | None, notes: list[str]) -> tuple[float, FloatArray, FloatArray]:
    """Inner radius of the dark field in the detector's unit, bright field and dark field."""
    away = np.linalg.norm(scan.detector.vectors(), axis=-1)
    reach = float(min(away[0].min(), away[-1].min(), away[:, 0].min(), away[:, -1].min()))
    pixel = math.sqrt(abs(np.linalg.det(np.asarray(scan.detector.matrix))))
    radius, inner = (disk.radius * pixel, BEYOND * disk.radius * pixel) if disk else (reach / 2, reach / 2)
    if not (away[scan.detector.mask] >= inner).any():
        radius = inner = reach / 2
    if disk is None or radius == inner:
        notes.append(f"the dark field is what lies beyond {inner:.3g} {scan.detector.unit}, half the largest circle")
    images = accumulate(scan, [annular(scan.detector, 0, radius), annular(scan.detector, inner)]).images
    return inner, images[0], images[1]


def _turned(com: CentreOfMass, dark: FloatArray, notes: list[str]) -> ScanRotation | None:
    """How the detector lies to the scan, if that is beyond doubt and not as the file has it."""
    try:
        found = scan_rotation(replace(com, descan=descan_plane(com)), dark)
    except DataError as failure:
        notes.append(f"no scan rotation: {failure}")
        return None
    sure = found.error < TOLD_ANGLE and found.sign > TOLD_SIGN and found.curl_share < TOLD_CURL
    if not sure or found.other_share - found.curl_share < TOLD_FLIP:
        notes.append(
            "the centres of mass do not tell how the detector is turned against the scan: taken as the file has it"
        )
        return None
    if not found.flip and abs(found.angle) < max(TURNED[0], TURNED[1] * found.error):
        return None
    flip = ", flipped," if found.flip else ""
    angle = f"{found.angle / DEGREE:.1f} ± {found.error / DEGREE:.1f}°"
    notes.append(
        f"the detector{flip} is turned by {angle} against the scan, by the centres of mass: taken into account"
    )
    return found


def _field(com: CentreOfMass, notes: list[str]) -> Field | None:
    try:
        flat = replace(com, descan=descan_plane(com))
        divergence, curl = derivatives(flat)
    except DataError as failure:
        notes.append(f"no DPC: {failure}")
        return None
    if com.detector.unit == "1/Å" and com.step_A is not None:
        return Field(divergence, curl, phase(flat), "rad")
    return Field(divergence, curl, integrate(flat), f"{com.detector.unit} × {'Å' if com.step_A else 'positions'}")


def _harmonics(scan: Scan4D, settings: ExploreSettings, tell: Report) -> Harmonics:
    """Of electrons.

    Raises:
        DataError: all patterns are alike.
    """
    e = settings.electrons_per_count
    found = angular_harmonics(
        scan,
        radius=settings.radius,
        electrons_per_count=e,
        progress=lambda done, total: tell("angular harmonics", done, total),
    )
    if not (np.abs(found.values - found.values[0]).max() > 1e-6 * np.abs(found.values).max()):
        raise DataError(f"{scan.name}: all patterns are alike: is it the right data set?")
    return replace(found, values=found.values * np.float32(e), noise=found.noise * np.float32(e**2))


def _symmetry(harmonics: Harmonics, counted: bool, settings: ExploreSettings) -> tuple[tuple[Order, ...], FloatArray]:
    """Harmonics of every pattern and the breaking of a symmetry; without counts over the scan's rms, and no errors."""
    if not counted:
        values = harmonics.values / np.sqrt(np.mean(np.abs(harmonics.values[:, :, 1:]) ** 2))
        values[:, :, 0] = 0
        values[:, 0, 0] = 1  # the counts, by which they are divided
        harmonics = replace(harmonics, values=values, noise=np.zeros_like(harmonics.noise))
    weights = {m: harmonics.best_weights(m) for m in settings.orders}
    orders = tuple(harmonics.order(m, w / np.abs(w).max()) for m, w in weights.items())
    return orders, harmonics.breaking(settings.broken)


def _learned(
    harmonics: Harmonics,
    settings: ExploreSettings,
    likelihood: Likelihood,
    folder: Path | None,
    rng: np.random.Generator,
    tell: Report,
    notes: list[str],
) -> Learned | None:
    if not settings.network:
        return None
    try:
        from picostem.stem4d.model import RVAE
    except ImportError:
        notes.append('no autoencoder, which needs torch: pip install "picostem[train]"')
        return None

    def progress(step: int, steps: int, figures: Mapping[str, float]) -> None:
        tell(f"autoencoder, loss {figures['loss']:.4g}", step, steps)

    tell("autoencoder", 0, 0)
    asked = settings.rvae(likelihood)
    model = RVAE.build(harmonics, asked, seed=settings.seed, device=settings.device)
    if folder is not None:
        _forget_other(folder, harmonics, asked, settings.seed)
    model.train(harmonics, folder, seed=settings.seed, progress=progress)
    found = model.encode(harmonics)
    alarms = model.alarms(found)
    notes += alarms.warnings
    active = np.flatnonzero(alarms.active)
    groups = clusters(found.mean[:, active], rng) if len(active) else found.classes.argmax(axis=1)
    return Learned(model, found, alarms, groups)


def _forget_other(folder: Path, harmonics: Harmonics, settings: RVAESettings, seed: int) -> None:
    """Make a folder ready for a training: a checkpoint of other data or settings goes, one of the same stays.

    Raises:
        OutputError: the folder cannot be written to.
    """
    told = json.dumps([settings.as_dict(), seed, VERSION]).encode()
    mine = hashlib.sha256(harmonics.values.tobytes() + told).hexdigest()
    mark = folder / MARK
    try:
        if mark.exists() and mark.read_text("utf-8") == mine:
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        mark.write_text(mine, "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; choose another folder") from error
