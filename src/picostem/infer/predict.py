"""Stackings of windows by a trained network, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import DataError
from picostem.infer.card import NetCard
from picostem.infer.features import Invariants
from picostem.infer.folder import net_folder, read_card
from picostem.infer.merge import mixture_of
from picostem.infer.prediction import Prediction
from picostem.infer.torus import Torus
from picostem.net_folder import NETWORK
from picostem.onnx_file import open_network

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH = 1024
"""Windows at once: their features take some 10 MB."""

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class StackingNet:
    """A trained network, ready to be asked.

    Attributes:
        card: what it is for; `card.calibration` is applied to what it says.
        invariants: what it reads; `invariants.hk` are the reflections whose amplitudes it takes, in this order.
        torus: what stackings there are.
    """

    card: NetCard
    session: InferenceSession = field(repr=False)
    invariants: Invariants
    torus: Torus

    @classmethod
    def load(cls, name_or_folder: str | Path, threads: int = 0) -> StackingNet:
        """A network that comes with the package, by name, or any other, by its folder; `threads` 0 takes all cores.

        Raises:
            UsageError: neither a shipped network nor a folder.
            DataError: a file is missing, damaged, not what the card says, or reaches out of itself.
        """
        folder = net_folder(name_or_folder)
        card = read_card(folder)
        return cls(card, open_network(folder / NETWORK, threads), card.invariants, card.torus)

    def predict(self, amplitudes: ArrayLike, noise: ArrayLike, factors: ArrayLike, conditions: ArrayLike) -> Prediction:
        """The stackings of k windows.

        Args:
            amplitudes: of the reflections `invariants.hk`, complex, shape (k, n).
            noise: root mean square of the noise of one amplitude, shape (k,).
            factors: of each layer alone, at the origin, in any unit, shape (k, layers, n).
            conditions: of the microscope, see `picostem.infer.samples.CONDITIONS`, shape (k, 3).

        Raises:
            UsageError: of other shapes.
            DataError: values that are not finite, noise that is not positive, or a network that gives no numbers.
        """
        features = self.invariants(amplitudes, noise, factors, conditions)
        parts = [self._predict(features[start : start + BATCH]) for start in range(0, max(len(features), 1), BATCH)]
        weights, means, covariances, outlier = (np.concatenate(each) for each in zip(*parts, strict=True))
        calibration = self.card.calibration
        trusted = outlier <= calibration.threshold
        return Prediction(self.torus, means, covariances * calibration.factor, weights, outlier, trusted)

    def _predict(self, features: Array) -> tuple[Array, Array, Array, Array]:
        """Weights, means and covariances of distinct modes, and the outlier score, of some windows."""
        try:
            logits, means, factors, trust = self.session.run(
                ["logits", "means", "factors", "trust"], {"features": features}
            )
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"net {self.card.name!r} cannot be run ({reason}): copy it again") from error
        if not all(np.isfinite(part).all() for part in (logits, means, factors, trust)):
            raise DataError(f"net {self.card.name!r} gives no numbers: train it again")
        return *mixture_of(self.torus, logits, means, factors), -np.asarray(trust, dtype=np.float64)
