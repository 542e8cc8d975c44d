"""The map of a result: coarse windows, domains, fine windows at their boundaries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from picostem.resolve.bound import calibrated
from picostem.resolve.interface import (
    FineGrid,
    boundary_line,
    find_domains,
    fine_grids,
)
from picostem.resolve.orient import Setting
from picostem.resolve.proposal import Proposer, Source
from picostem.resolve.result import Boundary, Domain, SlipMap
from picostem.resolve.settings import Settings
from picostem.resolve.stacking import Stackings
from picostem.resolve.window import window_starts
from picostem.resolve.windows import NEAR, Progress, WindowFits, concatenate, fit_grid, typical_chi2

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


LEAST_TRIPLES = 6  # of windows in a line, to tell the scatter of the map from its errors


class Mapping:
    """The windows of an image and what they say, before they are put into the result's frame.

    Attributes:
        coarse: fits of the coarse windows, rows slowest. starts: their first rows and columns.
        labels: domain of each coarse window, -1 for none. typical: reduced chi² of the tiles.
        slips: of the coarse windows, Å, shape (w, s, 2).
    """

    def __init__(
        self,
        data: NDArray[np.float32],
        setting: Setting,
        settings: Settings,
        progress: Progress | None,
        proposer: Proposer | None = None,
    ) -> None:
        self.data, self.setting, self.settings, self.proposer = data, setting, settings, proposer
        self.stackings = setting.model.stackings
        stride = max(1, round(settings.stride / setting.lattice.pixel_size))
        rows, cols = data.shape
        self.starts = (window_starts(rows, setting.window, stride), window_starts(cols, setting.window, stride))
        self.coarse = self.windows_at(self.starts, progress)
        self.typical = typical_chi2(setting)
        self.slips = self.coarse.slips @ setting.model.cell
        grid = (len(self.starts[0]), len(self.starts[1]))
        self.labels = find_domains(self.slips, self.coarse.status(self.typical) == "ok", grid, self.stackings)

    def windows_at(self, starts: tuple[IntArray, IntArray], progress: Progress | None = None) -> WindowFits:
        """Any windows of the image, in the same way as those of the map."""
        likely = _likely_slips(self.setting, self.stackings)
        return fit_grid(self.data, self.setting, likely, starts, progress, proposer=self.proposer)

    def main(self) -> WindowFits:
        """The coarse windows of the largest domain, all of them if there is none."""
        return self.coarse.take(self._main())

    def doubted(self) -> bool:
        """Whether a network was asked alone, and trusts its answer nowhere."""
        return bool((self.coarse.source == Source.DOUBTED).all())

    def told(self) -> bool:
        """Whether it is a network that says what the largest domain is."""
        return bool(np.mean(self.main().source != Source.FIT) > 0.5)

    def scatter(self) -> float:
        """Variance of disjoint windows' slips about their local trend over what their covariances say, at least 1.

        Second differences of three windows in a line, a window's width apart, know nothing of smooth variation:
        d = D1 - 2 D2 + D3 has the covariance C1 + 4 C2 + C3. The median of d C^-1 d, over that of chi² with as many
        degrees of freedom (2 ln 2 for one slip), ignores the odd defect.
        """
        rows, cols = len(self.starts[0]), len(self.starts[1])
        step = max(1, int(np.ceil(self.setting.window * self._pixel() / self.settings.stride - 0.05)))
        index = np.arange(rows * cols).reshape(rows, cols)
        lines = [index[:, i : i + 2 * step + 1 : step] for i in range(0, cols - 2 * step, step)]
        lines += [index[i : i + 2 * step + 1 : step].T for i in range(0, rows - 2 * step, step)]
        triples = np.concatenate([line[::step] for line in lines]) if lines else np.empty((0, 3), dtype=int)
        same = self.labels[triples]
        triples = triples[(same[:, 0] >= 0) & (same == same[:, :1]).all(axis=1)]
        if len(triples) < LEAST_TRIPLES:
            return 1.0
        middle, covariance = self.slips[triples[:, 1]], self.covariance()
        difference, total = -2 * middle, 4 * covariance[triples[:, 1]]
        for k in (0, 2):
            near, order = self.stackings.aligned(self.slips[triples[:, k]], middle)
            difference = difference + near
            total = total + self.stackings.covariance(covariance[triples[:, k]], order)
        flat = difference.reshape(len(triples), -1)
        squares = np.einsum("wi,wij,wj->w", flat, np.linalg.inv(total), flat)
        return max(1.0, float(np.median(squares) / (2 * gammaincinv(flat.shape[1] / 2, 0.5))))

    def covariance(self) -> FloatArray:
        """Of the coarse windows' slips, Å²: a network's, or the Fisher information's inflated by each residual."""
        return inflated(self.coarse, self.typical)

    def main_slip(self) -> FloatArray:
        """Mean slip of the largest domain (of all windows if there is none), Å."""
        return self.stackings.mean(self.slips[self._main()])

    def _main(self) -> BoolArray:
        return self.labels == 0 if (self.labels == 0).any() else np.ones(len(self.labels), dtype=bool)

    def finish(self, reference: FloatArray, progress: Progress | None) -> tuple[SlipMap, ...]:
        """The map of each interface with slips nearest to `reference` (s, 2), Å, its domains and their boundaries."""
        grids = fine_grids(self.labels, self.starts, self.setting)
        domains = [self.stackings.mean(self.slips[self.labels == i]) for i in range(self.labels.max() + 1)]
        inverse = np.linalg.inv(self.setting.model.cell)
        boundaries, fine = [], []
        for grid in grids:
            pair = np.array([domains[i] for i in grid.domains]) @ inverse
            line = boundary_line(self.data, self.setting, grid, pair)
            if len(line):
                boundaries.append(Boundary(line * self._pixel(), grid.domains))
                fine.append(self._fine(grid, pair, progress))
        fits = concatenate([self.coarse, *fine])
        coarse_count = len(self.coarse.centres)
        slips, order = self.stackings.aligned(fits.slips @ self.setting.model.cell, reference)
        covariance = self.stackings.covariance(inflated(fits, self.typical) * self.scatter(), order)
        blocks = [covariance[:, i : i + 2, i : i + 2] for i in range(0, covariance.shape[1], 2)]
        return tuple(
            self._slip_map(fits, coarse_count, i, slips[:, i], block, tuple(boundaries))
            for i, block in enumerate(blocks)
        )

    def _fine(self, grid: FineGrid, slips: FloatArray, progress: Progress | None) -> WindowFits:
        proposer = self.proposer
        return fit_grid(self.data, self.setting, slips, grid.starts, progress, only_these=True, proposer=proposer)

    def _pixel(self) -> float:
        return self.setting.lattice.pixel_size

    def _slip_map(
        self,
        fits: WindowFits,
        coarse_count: int,
        index: int,
        slips: FloatArray,
        fisher: FloatArray,
        boundaries: tuple[Boundary, ...],
    ) -> SlipMap:
        rows, cols = self.data.shape
        covariance = calibrated(fisher, self.setting.model.wavelength)
        return SlipMap(
            row=(rows - 1) / 2 - fits.centres[:, 1],
            col=(cols - 1) / 2 + fits.centres[:, 0],
            position=fits.centres * self._pixel(),
            slip=slips,
            covariance=covariance,
            chi2=fits.chi2,
            status=fits.status(self.typical),
            fine=np.arange(len(slips)) >= coarse_count,
            window=self.setting.window * self._pixel(),
            stride=self.settings.stride,
            grid=(len(self.starts[0]), len(self.starts[1])),
            domains=self._domains(slips, covariance),
            boundaries=boundaries,
            interface=index + 1,
            engine=np.where(fits.source == Source.FIT, "fit", "net"),
        )

    def _domains(self, slips: FloatArray, covariance: FloatArray) -> tuple[Domain, ...]:
        found = []
        total = max(1, int(np.count_nonzero(self.labels >= 0)))
        for i in range(self.labels.max() + 1):
            members = np.nonzero(self.labels == i)[0]
            weights = np.linalg.inv(covariance[members])
            mean = np.linalg.solve(weights.sum(axis=0), np.einsum("wij,wj->i", weights, slips[members]))
            # overlapping windows share their electrons: count each pixel once
            overlap = max(1.0, (self.setting.window * self._pixel() / self.settings.stride) ** 2)
            found.append(
                Domain(
                    windows=members,
                    slip=mean,
                    slip_covariance=np.linalg.inv(weights.sum(axis=0)) * min(overlap, len(members)),
                    centre=self.coarse.centres[members].mean(axis=0) * self._pixel(),
                    share=len(members) / total,
                )
            )
        return tuple(found)


def inflated(fits: WindowFits, typical: float) -> FloatArray:
    """Covariances of windows times their reduced chi², at least the typical one's, at least 1; a network's as it is."""
    factor = np.where(fits.source == Source.FIT, np.maximum(1.0, np.maximum(fits.chi2, typical)), 1.0)
    return np.asarray(fits.covariance * factor[:, None, None])


def _likely_slips(setting: Setting, stackings: Stackings) -> FloatArray:
    """The tiles' slips as starts for the windows, fractions (m, s, 2): like ones once, in the order of most."""
    cell = setting.model.cell
    slips = setting.fit.state.slips @ cell
    chosen = []
    for i in stackings.distinct(slips, NEAR):
        near, order = stackings.aligned(slips, slips[i])
        close = np.linalg.norm(near - slips[i], axis=2).max(axis=1) < NEAR
        commonest = np.bincount(order[close]).argmax()
        chosen.append(np.linalg.inv(stackings.matrices[commonest]) @ slips[i])
    return np.asarray(np.array(chosen) @ np.linalg.inv(cell))
