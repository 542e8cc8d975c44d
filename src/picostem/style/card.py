"""What a style says of itself: `style.json`, its card, checked value by value when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from picostem.errors import DataError, UsageError

FORMAT = "picostem.style/1"
Greys = Literal["range", "mean"]
MAX_ATTRIBUTE, MAX_REACH = 4096, 4096
_NUMBER = (int, float)


@dataclass(frozen=True)
class Exemplar:
    """The style of one experimental image.

    Attributes:
        name: of the image.
        attribute: what the attribute encoder made of it, its mean.
        black, white: grey values of the image that the networks saw as 0 and 1; None where they are not known.
        pixel_size_A: of the image.
    """

    name: str
    attribute: tuple[float, ...]
    black: float | None = None
    white: float | None = None
    pixel_size_A: float | None = None


@dataclass(frozen=True)
class StyleCard:
    """What a style is, where it came from and what it may be used for; `style.json`.

    Attributes:
        name, material: of the style; of what it was trained with.
        pixel_size_A: of the pictures that it was trained on before they were augmented.
        pixel_range_A: lowest and highest pixel size that augmentation made of it.
        receptive_field_px: how far from a pixel of its output the generator looks, to one side; 0 for one that has
            instance norms and so depends on the whole picture.
        attribute_size: numbers in an attribute; 0 for a style that has none (no attribute.onnx then).
        takes_noise: whether the generator has an input `noise`.
        greys: what 0 and 1 are in the content it takes: "range", the lowest and highest grey, or "mean", see
            `picostem.style.picture.by_mean`.
        exemplars: the experimental images' styles.
        training: preset, seed, steps, simulations, experiments, version.
        figures: likeness and structure figures, as measured.
        licence, credit: of the images that it learned from.

    Raises:
        DataError: the values contradict each other or are not finite.
    """

    name: str
    material: str
    pixel_size_A: float
    pixel_range_A: tuple[float, float]
    receptive_field_px: int
    attribute_size: int
    takes_noise: bool
    greys: Greys = "range"
    exemplars: tuple[Exemplar, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    credit: str = ""

    def __post_init__(self) -> None:
        low, high = self.pixel_range_A
        if not (_positive(self.pixel_size_A) and _positive(low) and _positive(high) and low <= high):
            raise DataError(
                f"style {self.name!r}: pixel sizes must be positive and in order, got {self.pixel_size_A} Å, "
                f"range {self.pixel_range_A}"
            )
        if not (0 <= self.receptive_field_px <= MAX_REACH and 0 <= self.attribute_size <= MAX_ATTRIBUTE):
            raise DataError(
                f"style {self.name!r}: receptive field and attribute size must not be negative or huge, got "
                f"{self.receptive_field_px} and {self.attribute_size}"
            )
        if self.greys not in get_args(Greys):
            raise DataError(f"style {self.name!r}: greys must be {' or '.join(get_args(Greys))}, got {self.greys!r}")
        for exemplar in self.exemplars:
            self._check(exemplar)

    def _check(self, exemplar: Exemplar) -> None:
        if len(exemplar.attribute) != self.attribute_size or not all(map(math.isfinite, exemplar.attribute)):
            raise DataError(
                f"style {self.name!r}: exemplar {exemplar.name!r} should have {self.attribute_size} finite numbers as "
                f"its attribute, got {len(exemplar.attribute)}"
            )
        if (exemplar.black is None) != (exemplar.white is None) or (
            exemplar.black is not None and exemplar.black == exemplar.white
        ):
            raise DataError(f"style {self.name!r}: exemplar {exemplar.name!r} needs two different grey values, or none")

    def exemplar(self, name: str) -> Exemplar:
        """The exemplar of a name; raises `UsageError` with the names there are."""
        for one in self.exemplars:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.exemplars) or "none"
        raise UsageError(f"style {self.name!r} has no exemplar {name!r}; it has: {known}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in `style.json`."""
        return {"format": FORMAT, **json.loads(json.dumps(asdict(self)))}

    @staticmethod
    def from_dict(values: Any, where: str) -> StyleCard:
        """The card of a style.json that has been parsed; `where` it lies is for messages.

        Raises:
            DataError: another format, keys that are missing or unknown, values of the wrong kind.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else type(values).__name__
            raise DataError(
                f"{where}: expected a style card of format {FORMAT!r}, found {found!r}: "
                "train the style again, or use the version of picostem that wrote it"
            )
        rest = _checked({key: value for key, value in values.items() if key != "format"}, _CARD, _CARD_NEEDS, where)
        low_high = [_of_kind(value, _NUMBER, f"{where}: pixel_range_A") for value in rest["pixel_range_A"]]
        if len(low_high) != 2:
            raise DataError(f"{where}: pixel_range_A should be two numbers, is {low_high}")
        exemplars = tuple(_exemplar(one, where) for one in rest.get("exemplars", ()))
        return StyleCard(**rest | {"pixel_range_A": (low_high[0], low_high[1]), "exemplars": exemplars})


def model_card(card: StyleCard) -> str:
    """The card as Markdown, for README.md in the style folder."""
    low, high = card.pixel_range_A
    lines = [
        f"# Style {card.name}",
        "",
        f"A learned imaging style for simulated ADF-STEM images of {card.material}; read by `picostem style transfer`.",
        "",
        f"- pixel size {card.pixel_size_A:.4g} Å, usable {low:.4g} to {high:.4g} Å (other images are resampled)",
        f"- receptive field {card.receptive_field_px} px to one side, attribute of {card.attribute_size} numbers, "
        f"{'with' if card.takes_noise else 'without'} a noise input",
        f"- content in greys of its {card.greys}",
        f"- exemplars: {', '.join(one.name for one in card.exemplars) or 'none'}",
        *(f"- {key}: {value}" for key, value in card.training.items()),
        f"- licence of the images it learned from: {card.licence or 'not stated'}",
        f"- credit: {card.credit or 'not stated'}",
    ]
    if card.figures:
        lines += ["", "| figure | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in card.figures.items())]
    return "\n".join(lines) + "\n"


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


_CARD: dict[str, Any] = {
    "name": str,
    "material": str,
    "pixel_size_A": _NUMBER,
    "pixel_range_A": list,
    "receptive_field_px": int,
    "attribute_size": int,
    "takes_noise": bool,
    "greys": str,
    "exemplars": list,
    "training": dict,
    "figures": dict,
    "licence": str,
    "credit": str,
}
_EXEMPLAR: dict[str, Any] = {
    "name": str,
    "attribute": list,
    "black": (*_NUMBER, type(None)),
    "white": (*_NUMBER, type(None)),
    "pixel_size_A": (*_NUMBER, type(None)),
}
_CARD_NEEDS = tuple(_CARD)[:7]
_EXEMPLAR_NEEDS = ("name", "attribute")


def _exemplar(values: Any, where: str) -> Exemplar:
    checked = _checked(
        _of_kind(values, dict, f"{where}: an exemplar"), _EXEMPLAR, _EXEMPLAR_NEEDS, f"{where}: exemplars"
    )
    attribute = tuple(float(_of_kind(one, _NUMBER, f"{where}: attribute")) for one in checked["attribute"])
    return Exemplar(**checked | {"attribute": attribute})


def _checked(values: dict[str, Any], kinds: Mapping[str, Any], needed: Sequence[str], where: str) -> dict[str, Any]:
    """The values, if they are all that is needed, nothing else, and of the right kinds."""
    missing = [name for name in needed if name not in values]
    unknown = sorted(values.keys() - kinds.keys())
    if missing or unknown:
        raise DataError(f"{where}: lacks {missing or 'nothing'}, and has unknown {unknown or 'nothing'}")
    return {key: _of_kind(value, kinds[key], f"{where}: {key}") for key, value in values.items()}


def _of_kind(value: Any, kind: Any, what: str) -> Any:
    """The value, if it is of a kind (True is no number) and finite."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("null" if one is type(None) else one.__name__ for one in kinds)
        raise DataError(f"{what} should be {expected}, is {value!r:.60}: the style card is damaged")
    if isinstance(value, _NUMBER) and not abs(value) < 1e100:
        raise DataError(f"{what} should be finite, is {value!r:.60}: the style card is damaged")
    return value
