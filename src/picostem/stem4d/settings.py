"""How a rotationally invariant autoencoder is built and trained; needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from picostem.errors import UsageError

Likelihood = Literal["poisson", "gaussian", "bernoulli"]
LIKELIHOODS = ("poisson", "gaussian", "bernoulli")


@dataclass(frozen=True)
class RVAESettings:
    """An autoencoder and its training.

    Attributes:
        latent: numbers that describe a pattern beside its orientation. classes: kinds of patterns that are told apart
            beside that; 1 for none.
        symmetry: n where orientations are meant modulo 2 pi / n.
        likelihood: of the data: electrons that are counted; any numbers, with a variance for each ring that is
            learned; numbers from 0 to 1.
        prior: concentration and direction (rad) of the von Mises distribution that orientations are expected to have;
            concentration 0 is the whole circle alike.
        width: of the hidden layers. templates: correlations with the pattern that the encoder takes.
        beta: weight of what the latents tell; it rises from 0 in `warm_up` steps. free_bits: what each latent may tell
            for nothing, nats. capacity: what all may tell, nats, in the end; the amount then is held there (Burgess et
            al., arXiv 1804.03599); None sets no such aim.
        labelled: weight of known classes against the rest.
        steps, batch, learning_rate: of Adam; the most steps. patience: validations without an improvement after which
            the rate is halved; after `halvings` of these it stops.
        validate_every: steps. held_out: share of the scan, in square blocks, that only validates. starts: alignments
            that it may begin with, of which the best is taken.

    Raises:
        UsageError: numbers out of range.
    """

    latent: int = 2
    classes: int = 1
    symmetry: int = 1
    likelihood: Likelihood = "poisson"
    prior: tuple[float, float] = (0.0, 0.0)
    width: int = 128
    templates: int = 48
    beta: float = 1.0
    warm_up: int = 300
    free_bits: float = 0.0
    capacity: float | None = None
    labelled: float = 1.0
    steps: int = 4000
    batch: int = 128
    learning_rate: float = 2e-3
    patience: int = 4
    halvings: int = 3
    validate_every: int = 50
    held_out: float = 0.15
    starts: int = 4

    def __post_init__(self) -> None:
        counts = (self.classes, self.symmetry, self.width, self.templates, self.steps, self.batch, self.patience)
        if min(*counts, self.validate_every, self.starts) < 1 or self.latent < 0 or self.halvings < 0:
            raise UsageError(f"expected positive counts, got {self}")
        if self.latent == 0 and self.classes == 1:
            raise UsageError("a network without latents and classes describes nothing: take one latent at least")
        if self.likelihood not in LIKELIHOODS:
            raise UsageError(f"likelihood is {self.likelihood!r}: expected one of {', '.join(LIKELIHOODS)}")
        if not (self.learning_rate > 0 and 0 < self.held_out < 1 and self.prior[0] >= 0):
            raise UsageError(
                f"expected a positive rate, a share held out between 0 and 1, a prior of 0 or more: {self}"
            )
        if min(self.beta, self.free_bits, self.labelled, self.capacity or 0.0) < 0:
            raise UsageError(f"expected weights of 0 or more, got {self}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
