"""Which networks may be asked about an image; and one asked for its windows' slips, in the form that it reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picostem.errors import DataError, UsageError
from picostem.infer.card import NetCard
from picostem.infer.folder import (
    CARD,
    PATCH_CARD,
    SHIPPED,
    is_patch_net,
    net_folder,
    read_card,
    read_patch_card,
    shipped_nets,
)
from picostem.infer.patch_card import PatchCard
from picostem.infer.predict import StackingNet
from picostem.physics import KV, MRAD
from picostem.resolve.evidence import HARMONIC_LIMIT, Evidence
from picostem.resolve.orient import Setting
from picostem.resolve.proposal import Proposal
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SAME_CELL = 0.02
"""Of a lattice vector's components, relative to its length: cells that differ by less are one material's."""

WINDOWS = (0.8, 1.5)
"""Sides of windows over those that a network was trained for that it may be asked about."""

MARGIN = 0.1
"""Relative to them: how far conditions may be beyond what training saw; they are taken for its nearest ones."""

KINDS = {(2, False): "slip", (2, True): "antiparallel", (3, False): "trilayer"}
"""Tasks by the layers and whether they are antiparallel."""


def nets_for(material: Monolayer, name: str | None = None) -> tuple[Path, ...]:
    """Folders of the networks that may be asked about stacks of a material: on one lattice, or twisted.

    Args:
        material: the layers'.
        name: of the only network that may be asked, or its folder; None for all that come with the package.

    Raises:
        UsageError: there is none, it is for another material, or one for patches that tells no density of twists.
        DataError: its folder is damaged.
    """
    if name is not None:
        folder = net_folder(name, CARD, PATCH_CARD)
        card = _card(folder)
        if not _is_for(card, material):
            raise UsageError(f"--net {name} is for {card.material}, not for {material.name}: {_make(material, 'slip')}")
        if not _answers(card):
            raise UsageError(
                f"--net {name} reads patches and tells no density of twists, so that `resolve` cannot ask it: "
                f"{_make(material, 'twist')}"
            )
        return (folder,)
    names = shipped_nets(CARD, PATCH_CARD)
    cards = {SHIPPED / one: _card(SHIPPED / one) for one in names}
    found = tuple(folder for folder, card in cards.items() if _is_for(card, material) and _answers(card))
    if not found:
        known = ", ".join(names) or "none"
        raise UsageError(
            f"no network for {material.name} comes with picostem (there are: {known}): {_make(material, 'slip')}"
        )
    return found


def _card(folder: Path) -> NetCard | PatchCard:
    return read_patch_card(folder) if is_patch_net(folder) else read_card(folder)


def _answers(card: NetCard | PatchCard) -> bool:
    """Whether windows of an image can be asked about, and errors told."""
    return isinstance(card, NetCard) or (card.form == "density" and card.any_orientation)


def _is_for(card: NetCard | PatchCard, material: Monolayer) -> bool:
    """Whether the material is the card's, by its name and, where the card says it, its cell."""
    if card.material != material.name:
        return False
    if isinstance(card, NetCard):
        cell = np.array(card.cell)
    elif card.polar:
        cell = np.linalg.inv(np.array(card.polar["reciprocal"])).T
    else:
        return True
    return bool(np.abs(cell - material.cell).max() < SAME_CELL * np.linalg.norm(cell, axis=1).max())


def _make(material: Monolayer, task: str) -> str:
    return (
        f"name another with --net, leave --engine out, or make one with `picostem train stacking --material "
        f"{material.name} --task {task} --out DIR` and give --net DIR/net"
    )


@dataclass(frozen=True, eq=False)
class Engine:
    """A network for the windows of one image; a `picostem.resolve.proposal.Proposer`.

    Attributes:
        net: the network. alone: whether its word is all that counts.
        index: of its reflections, or of their opposites, among the image's, shape (n,).
        opposite: where it is the opposite, shape (n,).
        factors: of each layer alone, as the fit has them, shape (layers, n).
        conditions: of the microscope, see `picostem.infer.samples.CONDITIONS`, shape (3,).
    """

    net: StackingNet
    alone: bool
    index: IntArray
    opposite: NDArray[np.bool_]
    factors: NDArray[np.complex128]
    conditions: FloatArray

    @classmethod
    def choose(cls, folders: tuple[Path, ...], setting: Setting, *, alone: bool) -> Engine:
        """The one of some networks that is for the stack that an image shows.

        Raises:
            DataError: none of them is, or the image does not show what it needs.
        """
        layers = setting.model.layers
        stack = (len(layers), any(layer is not layers[0] for layer in layers))
        cards = {folder: _card(folder) for folder in folders}
        fitting = [folder for folder, card in cards.items() if _stack(card) == stack]
        if not fitting:
            have = ", ".join(f"{card.name} ({_said(*_stack(card))})" for card in cards.values())
            raise DataError(
                f"the image shows {_said(*stack)} of {layers[0].name}, the networks are for others: {have}; "
                f"{_make(layers[0], KINDS.get(stack, 'slip'))}"
            )
        return cls.of(StackingNet.load(fitting[0], threads=1), setting, alone=alone)

    @classmethod
    def of(cls, net: StackingNet, setting: Setting, *, alone: bool) -> Engine:
        """A network for an image whose stack it is for.

        Raises:
            DataError: windows of another size, pixels too large, or another microscope.
        """
        side, wanted = setting.window * setting.lattice.pixel_size, net.card.window_A
        if not WINDOWS[0] * wanted <= side <= WINDOWS[1] * wanted:
            raise DataError(
                f"the windows are {side / 10:.2g} nm wide, net {net.card.name!r} knows those of {wanted / 10:g} nm: "
                f"give --window {wanted / 10:g}, an image that holds it, or another --net"
            )
        index, opposite = _places(net.invariants.hk, setting)
        seen = setting.model.layer_factors(setting.fit.state.microscope)[0][:, index]
        factors = np.where(opposite, seen.conj(), seen)
        return cls(net, alone, index, opposite, factors, _conditions(net.card, setting))

    def __call__(self, evidence: Evidence) -> Proposal:
        """The stackings of all windows of some evidence.

        Noise below all that training saw is taken for its least.
        """
        found = evidence.harmonics.amplitudes[:, self.index]
        amplitudes = np.where(self.opposite, found.conj(), found)
        noise = np.full(len(amplitudes), np.sqrt(evidence.noise_power[self.index].mean()))
        if self.net.card.limits:
            noise = np.maximum(noise, np.exp(self.net.card.limits[0][0]) * np.linalg.norm(amplitudes, axis=1))
        alike = (np.tile(known, (len(amplitudes),) + (1,) * known.ndim) for known in (self.factors, self.conditions))
        said = self.net.predict(amplitudes, noise, *alike)
        return Proposal(said.modes, said.weights, said.covariance, said.trusted)


def _stack(card: NetCard | PatchCard) -> tuple[int, bool | None]:
    """How many layers a network is for, and whether they are antiparallel; None where they are twisted."""
    return (card.layers, card.antiparallel) if isinstance(card, NetCard) else (2, None)


def _said(layers: int, antiparallel: bool | None) -> str:
    return f"{layers} {'twisted' if antiparallel is None else 'antiparallel' if antiparallel else 'parallel'} layers"


def _places(hk: IntArray, setting: Setting) -> tuple[IntArray, NDArray[np.bool_]]:
    """Where reflections, or their opposites, are among those of an image, and where it is the opposites."""
    there = {tuple(one): (i, False) for i, one in enumerate(setting.model.hk.tolist())}
    there |= {tuple(one): (i, True) for i, one in enumerate((-setting.model.hk).tolist())}
    found = [there.get(tuple(one)) for one in hk.tolist()]
    if None in found:
        raise DataError(
            f"pixels of {setting.lattice.pixel_size:.3g} Å do not show {found.count(None)} of the {len(hk)} "
            f"reflections that the network reads, up to {HARMONIC_LIMIT:g} per Å: take an image with smaller pixels, "
            f"or --engine fit"
        )
    index, opposite = zip(*(place for place in found if place is not None), strict=True)
    return np.array(index), np.array(opposite)


def _conditions(card: NetCard, setting: Setting) -> FloatArray:
    """Of the microscope that was given, read or fitted."""
    optics = setting.model.optics
    fitted = dict(zip(setting.model.prior.names, setting.fit.state.microscope, strict=True))
    semiangle = float(fitted.get("semiangle", optics.semiangle))
    found = np.array([optics.voltage_eV / (300 * KV), semiangle / (25 * MRAD), optics.inner / semiangle])
    if not card.limits:
        return found
    least, most = np.array(card.limits)[:, 1:]
    if np.any((found < least * (1 - MARGIN)) | (found > most * (1 + MARGIN))):
        raise DataError(
            f"net {card.name!r} knows {_range(least, most)}; the image's microscope is {_range(found, found)}"
            f"{' as the fit has it' if optics.source == 'fitted' else ''}: say what is known of it (--voltage, "
            f"--semiangle, --detector), or take another --net"
        )
    return np.asarray(np.clip(found, least, most))


def _range(least: FloatArray, most: FloatArray) -> str:
    """Conditions in the units of microscopists."""
    units = (("{:.0f}", 300.0, " kV"), ("{:.1f}", 25.0, " mrad"), ("{:.2f}", 1.0, " semiangles to the detector"))
    words = []
    for (form, scale, unit), low, high in zip(units, least, most, strict=True):
        first, last = form.format(low * scale), form.format(high * scale)
        words.append((first if first == last else f"{first} to {last}") + unit)
    return ", ".join(words)
