"""Whether what was measured elsewhere goes with the stacking: a table of the user's against each image's medians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control, spearmanr

from picostem.catalog.store import Catalog

QUANTITIES = (
    "slip_x_A", "slip_y_A", "slip_A", "slip_spread_A", "twist_deg", "chi2", "strain_xx", "strain_yy", "strain_xy",
    "defects_per_nm2",
)  # fmt: skip
"""Of an image: slip of its first interface (the one that stands for all equivalents, and its length), the rest medians
over the windows that are ok; defects from a result of `picostem atoms` of the same file."""

FEWEST = 4
"""Images that a rank correlation is computed of."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of a column with a quantity over n images.

    p: two-sided probability of so much by chance; p_adjusted: the same, with all pairs that were tried taken into
    account (false discovery rate, Benjamini and Hochberg 1995).
    """

    column: str
    quantity: str
    n: int
    rho: float
    p: float
    p_adjusted: float


def correlate(catalog: Catalog, table: str) -> list[Correlation]:
    """Every number in an attached table against every quantity of the images it is joined to, the surest first.

    Raises:
        UsageError: there is no such table.
    """
    on = ", ".join(f'"{name}"' for name in catalog.joined_on(table))
    rows = catalog.arrays(
        f"""WITH medians AS (
                SELECT image, median(twist_deg) AS twist_deg, median(chi2) AS chi2, median(strain_xx) AS strain_xx,
                       median(strain_yy) AS strain_yy, median(strain_xy) AS strain_xy
                FROM windows WHERE status = 'ok' AND interface = 1 GROUP BY image),
            counted AS (
                SELECT file, session, median(100 * defects / (rows * cols * pixel_size_A ** 2)) AS defects_per_nm2
                FROM images WHERE kind = 'atoms' GROUP BY file, session),
            quantities AS (
                SELECT i.file, i.session, i.image, i.slip_x_A, i.slip_y_A, sqrt(i.slip_x_A ** 2 + i.slip_y_A ** 2) AS
                       slip_A, i.slip_spread_A, m.* EXCLUDE (image), c.defects_per_nm2
                FROM images i LEFT JOIN medians m USING (image) LEFT JOIN counted c USING (file, session)
                WHERE i.kind = 'resolve')
            SELECT t.*, {", ".join(f"q.{name} AS _{name}" for name in QUANTITIES)}
            FROM "{table}" t JOIN images i USING ({on}) JOIN quantities q ON q.image = i.image"""
    )
    columns = [
        name
        for name, values in rows.items()
        if values.dtype.kind in "iuf" and name.removeprefix("_") not in QUANTITIES and f'"{name}"' not in on
    ]
    tried = []
    for column in columns:
        for quantity in QUANTITIES:
            x, y = rows[column].astype(np.float64), rows[f"_{quantity}"].astype(np.float64)
            both = np.isfinite(x) & np.isfinite(y)
            if both.sum() >= FEWEST and np.ptp(x[both]) > 0 and np.ptp(y[both]) > 0:
                found = spearmanr(x[both], y[both])
                tried.append((column, quantity, int(both.sum()), float(found.statistic), float(found.pvalue)))
    if not tried:
        return []
    adjusted = false_discovery_control([one[-1] for one in tried])
    return sorted((Correlation(*one, float(p)) for one, p in zip(tried, adjusted, strict=True)), key=lambda one: one.p)
