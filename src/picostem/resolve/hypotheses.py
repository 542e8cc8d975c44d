"""Which stack of aligned layers explains the image: two parallel ones, two antiparallel ones, or three.

All are fitted to the same windows. Antiparallel layers (H stacking, the upper one turned by 180°) differ from parallel
ones only where the layer has no two-fold axis along the beam. Three layers are tried only where two leave much
unexplained: they have two more parameters in every window, and would explain part of anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picostem.resolve.model import Optics
from picostem.resolve.orient import RIVAL, Setting, other_layers, rivals_of, settle
from picostem.resolve.result import Alternative
from picostem.resolve.select import described, unequal_layers
from picostem.resolve.settings import LayerCount
from picostem.structure.monolayer import Monolayer
from picostem.structure.symmetry import layer_operations

PARALLEL, ANTIPARALLEL, THREE = "two parallel layers", "two antiparallel layers", "three parallel layers"

LACKING_EXPLAINED = 0.98  # of the Bragg power (two layers that are there: 0.986 and more)
LACKING_CHI2 = 2.5  # reduced, of the median window (two layers that are there: up to 2.0)
UNDECIDED = 12.0  # chi² up to which parallel and antiparallel layers fit alike; false ones won by up to 11 (WSe2)
LACKING_BRIGHTNESS = 0.35  # |ln| of the layers' brightness ratio (two layers that are there: up to 0.26)
CLEAR_GAIN = 25.0  # reduced chi² per window that a third layer must gain (false ones: up to 16; true: up to 4000),
UNEQUAL_GAIN = 10.0  # and what suffices where two layers would be of that unlike brightness


@dataclass(frozen=True)
class Hypothesis:
    """A stack that was fitted; `settled` once the interference between its layers is in."""

    name: str
    setting: Setting
    settled: bool = False

    @property
    def misfit(self) -> float:
        """Cost per degree of freedom."""
        fit = self.setting.fit
        return fit.cost / len(fit.chi2) / fit.dof

    @property
    def typical(self) -> float:
        """Reduced chi² of the median window, which no stacking boundary or defect moves."""
        fit = self.setting.fit
        return float(np.median(fit.chi2) / fit.dof)


def fit_hypotheses(parallel: list[Setting], layers: LayerCount, optics: tuple[Optics, ...]) -> list[Hypothesis]:
    """The stacks that were fitted, the one that holds first; not settled if even that does not describe the image.

    Args:
        parallel: settings of two parallel layers, the best first.
        layers: how many there are, if that is known.
        optics: microscopes it may be.
    """
    material = parallel[0].model.layers[0]
    two = [] if layers == "3" else _pairs(parallel, antiparallel(material) if layers != "1" else None, optics)
    if layers != "3" and (layers != "auto" or not _lacking(two[0])):
        return two
    stacks = [one for other in parallel for one in other_layers(other, (material,) * 3, optics)]
    three = Hypothesis(THREE, min(stacks, key=lambda one: one.fit.cost))
    if layers == "auto" and not _third_is_there(two[0], three):
        return [*two, three]
    three = Hypothesis(THREE, settle(rivals_of(three.setting, stacks)), settled=True)
    return [three, *two] if layers == "3" or _third_is_there(two[0], three) else [*two, three]


def antiparallel(material: Monolayer) -> Monolayer | None:
    """The layer turned by 180°, or None if that is the same layer, moved at most."""
    if any(np.allclose(operation.matrix, -np.eye(2), atol=0.05) for operation in layer_operations(material)):
        return None
    return material.turned()


def _pairs(parallel: list[Setting], turned: Monolayer | None, optics: tuple[Optics, ...]) -> list[Hypothesis]:
    """Hypotheses of two layers, the best first, settled where they describe the image and rival the best."""
    fitted = {PARALLEL: parallel}
    if turned is not None:
        lower = parallel[0].model.layers[0]
        fitted[ANTIPARALLEL] = other_layers(parallel[0], (lower, turned), optics)
        if len(_rivals(fitted)) > 1:  # as many starts for the one as for the other
            fitted[PARALLEL] = [*parallel, *other_layers(parallel[0], (lower, lower), optics)]
    rivals = _rivals(fitted)
    settled = [Hypothesis(h.name, settle(rivals_of(h.setting, fitted[h.name])), settled=True) for h in rivals]
    rest = [Hypothesis(name, settings[0]) for name, settings in fitted.items() if name not in {h.name for h in rivals}]
    # parallel first unless the other fits clearly better: where a metal scatters like two chalcogens they look alike
    handicap = {PARALLEL: 0.0, ANTIPARALLEL: UNDECIDED}
    settled = sorted(settled, key=lambda h: h.setting.fit.cost + handicap[h.name])
    return settled + sorted(rest, key=lambda h: h.misfit)


def _rivals(fitted: dict[str, list[Setting]]) -> list[Hypothesis]:
    """The hypotheses that describe the image, as they stand, nearly as well as the best of them."""
    plain = [Hypothesis(name, min(settings, key=lambda one: one.fit.cost)) for name, settings in fitted.items()]
    best = min(h.misfit for h in plain)
    return [h for h in plain if described(h.setting) and h.misfit < RIVAL * best]


def _lacking(two: Hypothesis) -> bool:
    """Whether two layers explain so little, or are so unlike each other, that a third one should be tried."""
    poor = two.setting.explained < LACKING_EXPLAINED or two.typical > LACKING_CHI2
    return not two.settled or poor or unequal_layers(two.setting, LACKING_BRIGHTNESS)


def _third_is_there(two: Hypothesis, three: Hypothesis) -> bool:
    """Whether three layers fit clearly better, in most windows, with layers of like brightness."""
    one, other = two.setting.fit, three.setting.fit
    gain = np.median(one.chi2 - other.chi2) + (one.prior_misfit - other.prior_misfit) / len(one.chi2)
    least = UNEQUAL_GAIN if unequal_layers(two.setting, LACKING_BRIGHTNESS) else CLEAR_GAIN
    clear = gain > least * max(other.chi2_reduced, 1.0)
    return bool(clear) and described(three.setting) and not unequal_layers(three.setting)


def alternatives(hypotheses: list[Hypothesis]) -> tuple[Alternative, ...]:
    """The stacks that were fitted besides the first one, with what they cost."""
    best = hypotheses[0].setting.fit.cost
    found = [(h.name, h.setting.fit.cost - best) for h in hypotheses[1:]]
    return tuple(Alternative(name, cost, _doubt(cost)) for name, cost in found)


def _doubt(cost: float) -> str:
    if cost < -UNDECIDED:
        return "fits better, but by less than it must to be believed"
    return "undecided" if cost < UNDECIDED else ""
