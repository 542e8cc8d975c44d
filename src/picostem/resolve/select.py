"""Which hypothesis holds: no lattice of this material, another structure, a monolayer, a stack, or twisted layers.

What refuses an image is stated in words that a microscopist can act on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from picostem.resolve.combine import CommonSlip
from picostem.resolve.lattice import Spectrum, unindexed_share
from picostem.resolve.orient import Setting
from picostem.resolve.twist_map import map_twist
from picostem.resolve.twisted import Twisted, lattice_power
from picostem.structure.monolayer import Monolayer

# Set on real and simulated images of right and wrong materials: right ones lie well on the other side of each.
LEAST_GAIN = 10.0  # chi² per window that the lattice must explain; a lattice fitted to noise explains 7
MOST_UNINDEXED = 0.03  # of the peaks' power off the lattice (right: 0.00; a twisted layer: 0.2 to 0.5)
LEAST_EXPLAINED = 0.965  # of the Bragg power (right: 0.978 and more; MXene as MoS2: 0.952)
LEAST_TWISTED = 0.95  # the same of layers with lattices of their own (right: 0.960 and more)
MOST_CHI2 = 12.0  # reduced (right: up to 2.4, more at a stacking boundary)
MOST_WEIGHT = 1.0  # |ln| of the species' brightness ratio over the expected one (right: up to 0.7)
LEAST_VARIANCE = -0.04  # Å², of source and vibration; atoms sharper than a probe can be
MONOLAYER_EXPLAINED = 0.97  # of the Bragg power, and
MONOLAYER_GAIN = 25.0  # reduced chi² per window that a second layer must gain where one explains so much
UNEQUAL = 0.5  # |ln| of the layers' brightness ratio from which they are not two like layers (depth: up to 0.15)
UNEQUAL_MATERIALS = 0.8  # the same for layers of two materials, over what is expected: heavy atoms shadow light ones
IMPLAUSIBLE = 30.0  # chi² of the microscope's prior by which a second layer may strain the microscope
NEARLY = 0.85  # of the Bragg power, that layers on one lattice explain of a stack with a small twist
LEAST_POWER = 400.0  # chi² that twisted layers must explain; two lattices fitted to noise explain 100
NOISE_KNOWN = 1.2  # ratio to which the level of the noise is known, at worst
LEAST_IN_NOISE = 0.8  # share of the power that must be explained whatever the noise
PIECE = 20.0  # Å; side of the windows of a stack whose twist varies
TOO_MANY = 0.8  # share of the peaks' power off one lattice that two further layers leave at most (three alike: 0.67)
VARIES = 0.1  # Å; rms spread of the windows' slips from which a twist is looked for
TURNED_GAIN = 100.0  # chi² that a second lattice must gain where one explains the image, with a twist of at least
SMALL = 1.9  # windows across an image in which a slip cannot be seen to change
LEAST_TWIST = np.radians(0.4)  # what a slip that varies smoothly over an image can amount to
PRESENT = 4.0  # mean power over noise of a reflection that is there


@dataclass(frozen=True)
class Judgement:
    """What was decided and why.

    Attributes:
        verdict: as in the result. reason: in a sentence; None for a slip.
        monolayer_cost: misfit of one layer less that of two, chi² over all tiles.
    """

    verdict: Literal["slip", "monolayer", "unresolved"]
    reason: str | None
    monolayer_cost: float | None = None


def judge_lattice(
    candidates: list[Setting], spectrum: Spectrum, material: Monolayer, pixel_size: tuple[float, float] | None
) -> str | None:
    """Why the image cannot be resolved as a stack of this material, or None if it can."""
    name = material.name
    if not candidates:
        calibration = "" if pixel_size is None else f", or the pixel size of {pixel_size[0]:.4g} Å is wrong"
        return (
            f"No crystal lattice was found: vacuum, an amorphous or contaminated area, too few electrons, or a "
            f"resolution that does not show the lattice of {name}{calibration}."
        )
    for check in (_too_weak, _other_lattice, _smaller_cell):
        reason = check(candidates[0], spectrum, name)
        if reason is not None:
            return reason
    return None


def _too_weak(setting: Setting, spectrum: Spectrum, name: str) -> str | None:
    observation, fit = setting.evidence.observation, setting.fit
    null = np.sum(observation.whiten(observation.amplitudes[:, None]) ** 2)
    gain = float(null - fit.chi2.sum()) / len(fit.chi2)
    if gain > LEAST_GAIN + 2 * setting.evidence.harmonics.hk.shape[0] ** 0.5:
        return None
    return f"No lattice of {name} stands out of the noise: too few electrons, or no crystal in the image."


def _other_lattice(setting: Setting, spectrum: Spectrum, name: str) -> str | None:
    share = unindexed_share(spectrum, setting.lattice)
    if share <= MOST_UNINDEXED:
        return None
    return (
        f"{share:.0%} of the diffraction peaks' power lies off one lattice of {name}: a twisted layer, a grain "
        f"boundary or another material."
    )


def _smaller_cell(setting: Setting, spectrum: Spectrum, name: str) -> str | None:
    """Refuse if the reflections that are there belong to a cell smaller than the material's."""
    evidence = setting.evidence
    ratio = np.mean(np.abs(evidence.harmonics.amplitudes) ** 2, axis=0) / evidence.noise_power
    present = evidence.harmonics.hk[ratio > PRESENT]
    if len(present) < 2:
        return f"Fewer than two reflections of {name} stand out of the noise."
    first, second = np.meshgrid(np.arange(len(present)), np.arange(len(present)))
    minors = present[first, 0] * present[second, 1] - present[first, 1] * present[second, 0]
    index = int(np.gcd.reduce(np.abs(minors), axis=None))
    if index == 1:
        return None
    return (
        f"All visible reflections belong to a cell {index} times smaller than that of {name}: another material, or "
        f"too few electrons to see the weak reflections of {name}."
    )


def judge_twist(found: Twisted | None) -> str | None:
    """Why the image cannot be resolved as layers with lattices of their own, or None if it can."""
    if found is None:
        return "No lattices of these materials were found: vacuum, another material, or too few electrons."
    fit, names = found.best.fit, found.best.model.prior.names
    brightness = [fit.placement.microscope[i] for i, name in enumerate(names) if name.startswith("log brightness")]
    uneven = float(np.ptp([0.0, *brightness]))
    materials = " and ".join(dict.fromkeys(layer.name for layer in found.layers))
    if lattice_power(found.field, found.best) < LEAST_POWER:
        return f"No lattices of {materials} stand out of the noise: too few electrons, or no crystal in the image."
    if _one_lattice(found):
        return f"The layers of {materials} that explain most of the image lie on one lattice, and leave too much of it."
    if uneven > (UNEQUAL if len(set(found.layers)) == 1 else UNEQUAL_MATERIALS):
        return (
            f"The layers of {materials} that explain most of the image differ in brightness by a factor of "
            f"{np.exp(uneven):.1f}: another material, or more layers."
        )
    if _mostly_explained(found) or _explained_piecewise(found) >= LEAST_TWISTED:
        return None
    return (
        f"{len(found.layers)} layers of {materials} with lattices of their own explain only {found.explained:.1%} of "
        f"the Bragg power (reduced chi² {fit.chi2_reduced:.1f}): another material, or more layers."
    )


def _mostly_explained(found: Twisted) -> bool:
    """Whether what the layers leave of the image is little, or may be noise, whose level is known to NOISE_KNOWN."""
    if found.explained >= LEAST_TWISTED:
        return True
    fit = found.best.fit
    missed = max(fit.chi2_reduced / NOISE_KNOWN - 1.0, 0.0) * fit.samples
    power = lattice_power(found.field, found.best) * fit.chi2_reduced
    return found.explained >= LEAST_IN_NOISE and power / (power + missed) >= LEAST_TWISTED


def _one_lattice(found: Twisted) -> bool:
    """Whether like layers were found on lattices that do not differ: then they are no twisted stack."""
    if any(layer != found.layers[0] for layer in found.layers):
        return False
    turns = [found.best.twist_of(found.best.fit, 0, k) for k in range(1, len(found.best.lattices))]
    off = np.remainder(np.array(turns) + np.pi / 6, np.pi / 3) - np.pi / 6
    return bool(np.all(np.abs(off) < max(LEAST_TWIST, 5 * found.best.twist_sigma)))


def _explained_piecewise(found: Twisted) -> float:
    """Share of the lattices' power that the layers explain window by window, where their twist may vary."""
    pixels = round(PIECE / found.best.fitted_lattices[0].pixel_size)
    shape, field = found.whole.shape, found.field
    if min(shape) < 2 * pixels:
        return 0.0
    windows = map_twist(found.whole, shape, found.best, pixels, pixels, None)[0]
    power = lattice_power(field, found.best) * found.best.fit.chi2_reduced / field.values.size
    missed = max(float(np.median(windows.chi2)) * windows.typical - 1.0, 0.0) * field.independent
    return power / (power + missed)


def two_lattices(candidates: list[Setting], spectrum: Spectrum) -> bool:
    """Whether the peaks off the best lattice are as strong as those of one or two further layers would be."""
    share = unindexed_share(spectrum, candidates[0].lattice) if candidates else 0.0
    return MOST_UNINDEXED < share < TOO_MANY


def may_be_turned(common: CommonSlip, setting: Setting, shape: tuple[int, int]) -> bool:
    """Whether two lattices must be tried where one explains the image.

    That is where the slip changes over the image, or the image is so small that it could not be seen to.
    """
    return bool(common.spread.max() > VARIES) or min(shape) < SMALL * setting.window


def clearly_turned(found: Twisted, aligned: float) -> bool:
    """Whether two lattices fit clearly better than one, with a twist that is large enough to be one.

    Args:
        aligned: chi² that the layers on one lattice cost over it.
    """
    twist = abs(found.best.twist)
    return aligned > TURNED_GAIN and twist > max(LEAST_TWIST, 5 * found.best.twist_sigma)


def described(setting: Setting) -> bool:
    """Whether the layers explain the image well enough to be what it shows."""
    return setting.explained >= LEAST_EXPLAINED and setting.fit.chi2_reduced <= MOST_CHI2


def nearly_described(setting: Setting) -> bool:
    """Whether layers on one lattice explain so much that a small twist may explain the rest."""
    return setting.explained >= NEARLY


def judge_fit(setting: Setting, material: Monolayer) -> str | None:
    """Why the best stack that was found does not explain the image, or None if it does."""
    if not described(setting):
        count = {1: "One layer", 2: "Two layers", 3: "Three parallel layers"}[setting.model.layer_count]
        return (
            f"{count} of {material.name} explain only {setting.explained:.1%} of the Bragg power (reduced chi² "
            f"{setting.fit.chi2_reduced:.1f}): another material, or more layers."
        )
    return judge_species(setting, material)


def unequal_layers(setting: Setting, limit: float = UNEQUAL) -> bool:
    """Whether a layer is so much brighter or fainter than the first one that it is not a like layer."""
    values = dict(zip(setting.model.prior.names, setting.fit.state.microscope, strict=True))
    return any(abs(value) > limit for name, value in values.items() if name.startswith("log brightness"))


def judge_species(setting: Setting, material: Monolayer) -> str | None:
    """Why the settled fit speaks against the material's elements, or None."""
    name = material.name
    values = dict(zip(setting.model.prior.names, setting.fit.state.microscope, strict=True))
    if values["variance"] < LEAST_VARIANCE:
        return f"The atoms are sharper than this probe can image {name}: another material or pixel size."
    for symbol in setting.model.species[1:]:
        weight = values[f"log weight {symbol}"]
        sigma = np.sqrt(
            setting.fit.microscope_covariance[setting.model.prior.names.index(f"log weight {symbol}")].max()
        )
        if abs(weight) > MOST_WEIGHT + 2 * sigma:
            return (
                f"{symbol} is {np.exp(weight):.2g} times as bright as it should be in {name}: another material with a "
                f"like lattice."
            )
    return None


def judge_layers(one: Setting, two: Setting) -> Judgement:
    """Monolayer or bilayer, from the fits of both to the same windows."""
    gain = one.fit.cost - two.fit.cost
    relative = gain / max(two.fit.chi2_reduced, 1.0) / len(two.fit.chi2)
    strained = two.fit.prior_misfit > one.fit.prior_misfit + IMPLAUSIBLE
    doubtful = relative < MONOLAYER_GAIN or strained or unequal_layers(two)
    if one.explained >= MONOLAYER_EXPLAINED and doubtful:
        sigma = _eclipse_limit(two)
        reason = (
            f"One layer explains the image. A second one, if there is one, eclipses it to within {sigma:.2f} Å (95 %); "
            f"if you know that there are two, ask for --layers 2."
        )
        return Judgement("monolayer", reason, gain)
    return Judgement("slip", None, gain)


def _eclipse_limit(two: Setting) -> float:
    """Largest slip (Å) that the bilayer fit allows, at 95 %."""
    slips = two.fit.state.slips[:, 0]
    short = (slips - np.rint(slips)) @ two.model.cell
    covariance = two.model.cell.T @ two.fit.slip_covariance[:, :2, :2] @ two.model.cell
    sigma = np.sqrt(np.trace(covariance, axis1=1, axis2=2) / len(slips))
    return float(np.median(np.linalg.norm(short, axis=1)) + 2 * np.median(sigma))
