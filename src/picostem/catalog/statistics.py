"""What the slips in a catalog say together: density, peaks, transitions, and temperature in a landscape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.catalog.density import Density
from picostem.catalog.landscape import Landscape
from picostem.catalog.occupancy import BoltzmannPlot, Fit, boltzmann_plot, fit_temperature
from picostem.catalog.peaks import Peak, find_peaks
from picostem.catalog.slips import Slips, transitions
from picostem.catalog.store import Catalog
from picostem.errors import DataError, UsageError
from picostem.physics import DEGREE
from picostem.structure import Monolayer, SlipEquivalence, load_materials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST = 50_000
"""Windows that statistics are made of; of more, so many are drawn. 50 000 tell a density to 1 %."""

USABLE = "status = 'ok' AND twist_sigma_deg = 0 AND slip_x_A IS NOT NULL AND cov_xx_A2 IS NOT NULL"
"""Windows with a slip: the layers share a lattice, and the fit holds."""

ONE_INTERFACE = "image NOT IN (SELECT DISTINCT image FROM windows WHERE interface > 1)"
"""Of three layers, an image does not tell which slip is whose."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The windows of one material and twist.

    Attributes:
        slips: them.
        layers: lower and upper one.
        twist: between them, rad.
        position: of each window in its image, Å, shape (n, 2); stride: from one to the next, Å.
        found: how many windows there are, of which `slips` may be a sample.
    """

    slips: Slips
    layers: tuple[Monolayer, Monolayer]
    twist: float
    position: FloatArray
    stride: float
    found: int


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a selection of windows says.

    Attributes:
        density, peaks: of the slips. cluster: number of each window's peak, shape (n,).
        transitions: pairs of neighbouring windows in clusters i and j, shape (peaks, peaks).
        fit, plot: temperature and occupancies in the landscape; the plot is None where there are too few windows.
    """

    selection: Selection
    landscape: Landscape
    density: Density
    peaks: tuple[Peak, ...]
    cluster: IntArray
    transitions: IntArray
    fit: Fit
    plot: BoltzmannPlot | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: lengths in Å, energies in the landscape's unit."""
        slips, inverse = self.selection.slips, np.linalg.inv(self.selection.layers[0].cell)
        plot = self.plot
        tree = {
            "windows": len(slips),
            "windows_found": self.selection.found,
            "images": len(np.unique(slips.image)),
            "twist_deg": self.selection.twist / DEGREE,
            "equivalents": slips.equivalence.count,
            "bandwidth_A": self.density.bandwidth,
            "peaks": [
                {
                    "slip_cart_A": one.slip.tolist(),
                    "slip_frac": (one.slip @ inverse).tolist(),
                    "slip_cov_A2": one.covariance.tolist(),
                    "density_per_A2": one.density,
                    "density_sigma_per_A2": one.density_sigma,
                    "share": one.share,
                }
                for one in self.peaks
            ],
            "transitions": self.transitions.tolist(),
            "landscape": {"source": self.landscape.source, "unit": self.landscape.unit},
            "beta": self.fit.beta,
            "beta_sigma": self.fit.sigma,
            "gain_per_window": self.fit.gain,
            "boltzmann_plot": plot
            and {
                "energy": plot.energy.tolist(),
                "occupancy": plot.occupancy.tolist(),
                "occupancy_sigma": plot.occupancy_sigma.tolist(),
                "slope": plot.slope,
                "slope_sigma": plot.slope_sigma,
                "chi2_reduced": plot.chi2,
            },
        }
        return _without_nan(tree)  # type: ignore[no-any-return]


def select(
    catalog: Catalog, material: str | None = None, twist_deg: float | None = None, where: str = "true"
) -> Selection:
    """Windows of a catalog that show one kind of interface.

    Args:
        material: as in the catalog; None takes the only one.
        twist_deg: 0, or 60 (180) for antiparallel layers; None takes what most windows have.
        where: a further condition in SQL, on the columns of `windows`.

    Raises:
        UsageError: several materials and none chosen, or the condition is wrong.
        DataError: there is no such window.
    """
    material = _material(catalog, material)
    text = material.replace("'", "''")
    usable = f"material = '{text}' AND {USABLE} AND {ONE_INTERFACE} AND ({where})"
    twists = catalog.arrays(
        f"SELECT round(twist_deg) AS twist, count(*) AS n FROM windows WHERE {usable} GROUP BY 1 ORDER BY n DESC"
    )
    if not len(twists["twist"]):
        raise DataError(f"no window of {material} has a slip: add results, or widen the condition")
    chosen = float(twists["twist"][0]) if twist_deg is None else round(twist_deg)
    rows = catalog.arrays(
        "SELECT * FROM (SELECT image, x_A, y_A, slip_x_A, slip_y_A, cov_xx_A2, cov_xy_A2, cov_yy_A2 FROM windows "
        f"WHERE {usable} AND round(twist_deg) = {chosen}) USING SAMPLE reservoir({MOST} ROWS) REPEATABLE (1)"
    )
    asked = catalog.arrays(
        f"SELECT any_value(settings) AS settings, median(stride_A) AS stride FROM images WHERE material = '{text}' AND "
        "kind = 'resolve'"
    )
    layers = load_materials(json.loads(asked["settings"][0])["material"])
    pair = (layers[0], layers[-1])
    xx, xy, yy = (rows[f"cov_{name}_A2"] for name in ("xx", "xy", "yy"))
    slips = Slips(
        np.stack([rows["slip_x_A"], rows["slip_y_A"]], axis=1).astype(np.float64),
        np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2).astype(np.float64),
        rows["image"],
        SlipEquivalence(*pair, twist=chosen * DEGREE),
    )
    position = np.stack([rows["x_A"], rows["y_A"]], axis=1).astype(np.float64)
    found = int(twists["n"][twists["twist"] == chosen].sum())
    return Selection(slips, pair, chosen * DEGREE, position, float(asked["stride"][0]), found)


FEWEST = 8
"""Images whose slips make statistics."""


def analyse(selection: Selection, landscape: Landscape) -> Statistics:
    """Density, peaks, transitions and temperature of a selection.

    Raises:
        DataError: fewer than FEWEST images, whose scatter would tell nothing; a flat landscape.
    """
    slips = selection.slips
    count = len(np.unique(slips.image))
    if count < FEWEST:
        raise DataError(
            f"statistics of slips need {FEWEST} images or more, as their errors are the scatter of images; got {count}"
        )
    density = Density.of(slips)
    peaks, cluster = find_peaks(density)
    # 1.05: neighbours along the grid, not across it, whatever was rounded.
    pairs = transitions(cluster, slips.image, selection.position, 1.05 * selection.stride, len(peaks))
    fit = fit_temperature(slips, landscape)
    try:
        plot = boltzmann_plot(slips, landscape, fit.beta)
    except DataError:
        plot = None
    return Statistics(selection, landscape, density, peaks, cluster, pairs, fit, plot)


def _material(catalog: Catalog, material: str | None) -> str:
    known = catalog.query("SELECT DISTINCT material FROM windows ORDER BY 1")["material"].to_pylist()
    if material is None and len(known) == 1:
        return str(known[0])
    if material is None or material not in known:
        raise UsageError(f"the catalog has windows of {', '.join(known) or 'no material'}: choose one with --material")
    return material


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
