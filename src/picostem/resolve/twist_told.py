"""Twists that a network tells of windows, beside those of the fit: whose counts, and the twist of the image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.result import Interface, SlipMap
from picostem.resolve.twist_map import TwistWindows

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ToldTwists:
    """What a network says of the windows of a map.

    Attributes:
        twist, sigma: rad, shape (n,); NaN of windows that it cannot be asked about.
        trusted: whether the network is sure, shape (n,).
        side: of the part of the image that it reads, Å.
    """

    twist: FloatArray
    sigma: FloatArray
    trusted: BoolArray
    side: float

    @property
    def asked(self) -> BoolArray:
        """Whether it was asked, shape (n,)."""
        return np.isfinite(self.twist)


def with_told(windows: TwistWindows, told: ToldTwists, alone: bool) -> TwistWindows:
    """The windows, those that a network speaks for with its twists.

    That is, of windows that are not vacuum, `alone` all that it was asked about, else those for which it is sure and
    that the fit does not hold in. The registry is always the fit's; where the fit does not hold it is not known.
    """
    held = windows.status == "ok"
    there = told.asked & (windows.status != "vacuum")
    net = there if alone else there & told.trusted & ~held
    unknown = net & ~held
    return replace(
        windows,
        twist=np.where(net, told.twist, windows.twist),
        twist_sigma=np.where(net, told.sigma, windows.twist_sigma),
        registry=np.where(unknown[:, None], np.nan, windows.registry),
        covariance=np.where(unknown[:, None, None], np.nan, windows.covariance),
        status=np.where(net, np.where(told.trusted, "ok", "untrusted"), windows.status),
        engine=np.where(net, "net", windows.engine),
    )


def told_interface(interface: Interface, one: SlipMap, side: float, alone: bool) -> Interface:
    """The interface with the mean of a network's twists in the largest domain, if most of that is the network's.

    `alone`, any of it is enough. All windows were seen by one microscope, so that part of the errors of a network is
    common, and does not vanish in the mean. With C the mean of their variances, S their scatter and r = S / C, at most
    1, the mean of n that do not overlap has the variance C (1 - r + r / n), and what S exceeds C by, over n.

    Args:
        one: the interface's map.
        side: of what the network reads, Å.
    """
    if one.twist is None or one.twist_sigma is None or one.engine is None:
        return interface
    told = (one.status == "ok") & (one.engine == "net")
    main = one.domains[0].windows if one.domains else np.flatnonzero(one.status == "ok")
    members = main[told[main]]
    if alone and not len(members):
        members = np.flatnonzero(told)
    if not len(members) or (not alone and len(members) <= len(main) / 2):
        return interface
    weight = 1 / one.twist_sigma[members] ** 2
    twist = float(np.average(one.twist[members], weights=weight))
    scatter = float(np.average((one.twist[members] - twist) ** 2, weights=weight))
    whole = float(1 / weight.mean())
    own, excess = min(1.0, scatter / whole), max(0.0, scatter - whole)
    count = max(1.0, len(members) * (one.stride / side) ** 2)
    return replace(
        interface,
        twist=twist,
        twist_sigma=float(np.sqrt(whole * (1 - own + own / count) + excess / count)),
        twist_spread=float(np.sqrt(excess)),
    )
