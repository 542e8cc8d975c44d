"""How layers lie in the image, against the truth: orientation, hand, and which of two antiparallel stackings it is."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picostem.bench.case import Case
from picostem.physics import DEGREE
from picostem.resolve.result import Interface, ResolvedLayer, Result
from picostem.structure import Monolayer, image_from_crystal, layer_operations, load_monolayer, twist_distance

FloatArray = NDArray[np.float64]
Branch = Literal["right", "wrong", "neither", "undecided"]

ALIGNED = 2.0 * DEGREE  # further off, an orientation is another one; drift turns lattices by less
SAME_TWIST = 1.0 * DEGREE  # further off, a twist is another one
HALF_TURN = np.pi
_FLIP = np.diag([1.0, -1.0])


def orientation_right(layer: ResolvedLayer, case: Case) -> bool:
    """Whether rotation and hand are those of a true layer of the same structure, up to the symmetry of the layer.

    It need not be the lowest one: two layers of one structure can be told apart by their order along the beam only.
    """
    name = str(case.truth["layers"][0]["structure"])
    base = load_monolayer(name)
    found = _in_base(image_from_crystal(layer.rotation, layer.mirrored), layer.monolayer, base)
    for true, monolayer, stated in zip(case.matrices, case.monolayers, case.truth["layers"], strict=True):
        if str(stated["structure"]) == name:
            change = _in_base(true, monolayer, base).T @ found
            turns = [change @ operation.matrix for operation in layer_operations(base)]
            if any(np.linalg.det(t) > 0 and abs(np.arctan2(t[1, 0], t[0, 0])) < ALIGNED for t in turns):
                return True
    return False


def branch(result: Result, case: Case) -> Branch | None:
    """Which of the stackings that share their reflections was found: a layer and the same one turned by half.

    Of several interfaces the worst counts. None: the layers look the same turned by half, or there is nothing to ask.
    """
    if len(result.interfaces) != len(case.twists) or len(result.layers) != len(case.monolayers):
        return None
    case = nearest_order(result, case)
    found = {_branch_of(result, case, index) for index in range(len(case.twists))}
    order: tuple[Branch, ...] = ("wrong", "undecided", "neither", "right")
    return next((one for one in order if one in found), None)


def _branch_of(result: Result, case: Case, index: int) -> Branch | None:
    interface = result.interfaces[index]
    if not hand_right(result, case, index):
        return "wrong"
    if _off(case, index, float(case.twists[index]), HALF_TURN) < 2 * SAME_TWIST:
        return None
    if len(interface.twist_alternatives):
        return "undecided"
    same = SAME_TWIST + case.twist_spread
    if _off(case, index, interface.twist) < same:
        return "right"
    return "wrong" if _off(case, index, interface.twist, HALF_TURN) < same else "neither"


def hand_right(result: Result, case: Case, index: int) -> bool:
    """Whether two neighbouring layers are seen from the same side, or from opposite ones, as they truly are."""
    names = [str(layer["structure"]) for layer in case.truth["layers"][index : index + 2]]
    bases = [load_monolayer(name) for name in names]
    if any(map(_is_mirror_image, bases)):
        return True
    layers = result.layers[index : index + 2]
    found = [image_from_crystal(layer.rotation, layer.mirrored) for layer in layers]
    sides = [_in_base(a, layer.monolayer, base) for a, layer, base in zip(found, layers, bases, strict=True)]
    trues = zip(case.matrices[index : index + 2], case.monolayers[index : index + 2], bases, strict=True)
    return bool(np.prod([np.linalg.det(a) for a in [*sides, *(_in_base(*true) for true in trues)]]) > 0)


def nearest_order(result: Result, case: Case) -> Case:
    """The case with its layers in the order, and seen from the side, that is nearest to the result's.

    Projection does not show which of several layers of one structure lies above which, nor from which side layers are
    seen that are their own mirror images. Of two layers, the comparison of their twists takes care of that.
    """
    names = [str(layer["structure"]) for layer in case.truth["layers"]]
    if len(names) < 3:
        return case
    handless = all(_is_mirror_image(monolayer) for monolayer in case.monolayers)
    orders = [o for o in itertools.permutations(range(len(names))) if [names[index] for index in o] == names]
    cases = [
        case.ordered(order, mirrored) for order in orders for mirrored in ((False, True) if handless else (False,))
    ]
    return min(cases, key=lambda one: sum(twist_error(found, one, k) for k, found in enumerate(result.interfaces)))


def twist_error(interface: Interface, case: Case, index: int) -> float:
    """Distance of the true twist from the nearest of those that are stated, rad."""
    return min(_off(case, index, twist) for twist in (interface.twist, *interface.twist_alternatives))


def _off(case: Case, index: int, twist: float, turned: float = 0.0) -> float:
    """Distance of a twist from the true one, or from the true one turned further, rad."""
    lower, upper = case.monolayers[index : index + 2]
    true = float(case.twists[index]) + turned
    if len(case.monolayers) == 2:
        return float(twist_distance(twist, true, lower, upper))
    # of more layers, no two can be exchanged or mirrored alone: that leaves what turns a layer onto itself
    turns = [o.matrix for one in (lower, upper) for o in layer_operations(one) if np.linalg.det(o.matrix) > 0]
    steps = np.array([np.arctan2(turn[1, 0], turn[0, 0]) for turn in turns])
    return float(np.abs(np.remainder(twist - true + steps + np.pi, 2 * np.pi) - np.pi).min())


def _is_mirror_image(monolayer: Monolayer) -> bool:
    """Whether the layer in projection is its own mirror image, so that it has no hand."""
    return any(np.linalg.det(operation.matrix) < 0 for operation in layer_operations(monolayer))


def _in_base(matrix: FloatArray, monolayer: Monolayer, base: Monolayer) -> FloatArray:
    """The matrix of a layer for the coordinates of the listed structure, which the layer may be turned against."""
    if monolayer == base.flipped():
        return np.asarray(matrix @ _FLIP)
    return -matrix if monolayer == base.turned() else matrix
