"""What `picostem simulate` was told about materials, slips and twists, as a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from picostem.cli.pairs import Pair, pairs
from picostem.errors import UsageError

if TYPE_CHECKING:
    from picostem.structure import Monolayer, Stack

Item = TypeVar("Item")


def stack_of(
    materials: Sequence[Monolayer],
    layers: int | None,
    slip: Sequence[str],
    slip_frac: Sequence[str],
    twist: Sequence[float],
) -> Stack:
    """The stack that the options describe.

    Args:
        materials: one for all layers, or one for each.
        layers: how many; None: as many as materials or as the slips and twists need, and two at least.
        slip, slip_frac, twist: one for all interfaces, one for each, or none; "X Y" in Å, "DA DB" in units of the lower
            layer's a and b, degrees.

    Raises:
        UsageError: these contradict each other.
    """
    from picostem.physics import DEGREE
    from picostem.structure import Stack

    if slip and slip_frac:
        raise UsageError("--slip and --slip-frac say the same thing: give one of them")
    count = _count(len(materials), layers, {"--slip": len(slip), "--slip-frac": len(slip_frac), "--twist": len(twist)})
    of_each = list(materials) * (count if len(materials) == 1 else 1)
    shares = _each(pairs("--slip-frac", slip_frac), count)
    slips: list[Pair] = _each(pairs("--slip", slip), count)
    for lower, (da, db) in zip(of_each, shares, strict=False):
        x, y = (lower.cell.T @ (da, db)).tolist()
        slips.append((x, y))
    return Stack.of(of_each, slips, [angle * DEGREE for angle in _each(twist, count)])


def _count(materials: int, layers: int | None, given: dict[str, int]) -> int:
    """The number of layers."""
    several = {option: number for option, number in given.items() if number > 1}
    if layers is None:
        layers = materials if materials > 1 else 1 + max(1, *given.values())
    if layers == 1 and any(given.values()):
        raise UsageError("one layer has neither slip nor twist: leave them out, or ask for --layers 2")
    if materials not in (1, layers):
        raise UsageError(f"{materials} materials for {layers} layers: name one, or one for each layer")
    for option, number in several.items():
        if number != layers - 1:
            raise UsageError(
                f"{option} is given {number} times, but {layers} layers have {_interfaces(layers - 1)}: give it once "
                f"for all of them, or once for each"
            )
    return layers


def _interfaces(number: int) -> str:
    return f"{number} interface" + ("" if number == 1 else "s")


def _each(values: Sequence[Item], layers: int) -> list[Item]:
    """One value per interface; none stay none."""
    return list(values) * (layers - 1 if len(values) == 1 else 1)
