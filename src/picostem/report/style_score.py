"""The figure of `picostem style score`: both images, their greys, profiles, spectra and noise, and the measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from picostem.report import palette
from picostem.report.lettering import shortened, with_glyphs
from picostem.report.panel_image import scale_bar
from picostem.style.histogram import BINS, histogram, line_profiles, roughness
from picostem.style.metrics import Likeness, Score, common
from picostem.style.spectrum import REACH, Power, autocorrelation, power, radial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.style.picture import Picture

COLOURS = (palette.LAYERS[0], palette.LAYERS[1])
"""Of the image and of the reference."""

SHOWN = 40.0
"""Å of the images that are shown at most: more, and single atoms cannot be seen."""

WORDS = {
    "d_kl": ("D_KL of greys", "4"),
    "delta_ra": ("ΔR_a of lines", "4"),
    "psnr": ("PSNR, dB", "1"),
    "spectrum": ("radial spectrum", "3"),
    "spectrum_directional": ("noise by direction", "3"),
    "noise_autocorrelation": ("noise autocorrelation", "3"),
    "frechet": ("patches, Fréchet", "3"),
}
"""Names of the measures, and how many decimals they are given with."""


def draw(image: Picture, reference: Picture, score: Score) -> Figure:
    """Both images as they were compared, and what the measures look at, the image orange and the reference blue."""
    import matplotlib as mpl

    both = common(image, reference)
    powers = [power(one) for one in both]
    with mpl.rc_context({**mpl.rcParamsDefault, **palette.STYLE}):
        sheet = Figure(figsize=(14.4, 7.4))
        grid = sheet.add_gridspec(2, 4, left=0.055, right=0.975, top=0.94, bottom=0.075, wspace=0.3, hspace=0.28)
        axes = [sheet.add_subplot(grid[row, column]) for row in (0, 1) for column in range(4)]
        for ax, picture, what, colour in zip(axes, both, ("image", "reference"), COLOURS, strict=False):
            _image(ax, picture, what, colour)
        _greys(axes[2], both)
        _profiles(axes[3], both)
        _spectra(axes[4], powers)
        _noise(axes[5], powers[0], "image", COLOURS[0])
        _noise(axes[6], powers[1], "reference", COLOURS[1])
        _table(axes[7], score)
    return sheet


def _image(ax: Axes, picture: Picture, what: str, colour: str) -> None:
    """The middle of a picture."""
    px, (rows, columns) = picture.pixel_size, picture.data.shape
    side = min(rows, columns, max(1, round(SHOWN / px)))
    top, left = (rows - side) // 2, (columns - side) // 2
    shown = picture.data[top : top + side, left : left + side]
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=(0, side * px, 0, side * px), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.set_title(shortened(with_glyphs(f"{what}: {picture.name}"), 2.7, 10.0), color=colour, loc="left")
    scale_bar(ax)


def _greys(ax: Axes, both: tuple[Picture, Picture]) -> None:
    edges = np.linspace(0, 1, BINS + 1)
    for picture, colour in zip(both, COLOURS, strict=True):
        ax.stairs(100 * histogram(picture.data.astype(np.float64)), edges, color=colour, lw=1.4)
    ax.set(xlim=(0, 1), ylim=(0, None), xlabel="grey, from minimum to maximum", ylabel="% of the pixels")
    ax.set_title("grey values", loc="left")


def _profiles(ax: Axes, both: tuple[Picture, Picture]) -> None:
    """One line along the rows, that of which the reference is the roughest: it runs through atoms."""
    lines = [line_profiles(picture, axis=0) for picture in both]
    chosen = int(np.argmax([roughness(line) for line in lines[1]]))
    px = both[0].pixel_size
    for one, colour in zip(lines, COLOURS, strict=True):
        values = one[chosen]
        ax.plot(np.arange(len(values)) * px, values, color=colour, lw=1.0, label=f"R_a {roughness(values):.3f}")
    ax.set(xlim=(0, min(SHOWN, lines[0].shape[1] * px)), ylim=(-0.02, 1.18), xlabel="Å")
    ax.legend(frameon=False, loc="upper right", ncols=2, fontsize=8, borderaxespad=0.1)
    ax.set_title("profile of one line", loc="left")


def _spectra(ax: Axes, powers: list[Power]) -> None:
    for one, colour in zip(powers, COLOURS, strict=True):
        ax.semilogy(*radial(one), color=colour, lw=1.4)
    ax.set(xlim=(0, powers[0].nyquist), xlabel="spatial frequency, 1/Å", ylabel="power density, grey² Å²")
    ax.set_title("radial power spectrum", loc="left")


def _noise(ax: Axes, one: Power, what: str, colour: str) -> None:
    """Autocorrelation, whose middle, 1 by definition, would hide the rest: greys end at a third of it."""
    shown = autocorrelation(one)
    reach = len(shown) * one.pixel_size / 2
    ax.imshow(shown, cmap=palette.SIGNED, vmin=-1 / 3, vmax=1 / 3, extent=(-reach, reach, -reach, reach))
    ax.set(xlabel="Å", xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    ax.set_title(f"noise of the {what}, autocorrelation", loc="left", color=colour)


def _table(ax: Axes, score: Score) -> None:
    """All measures with their floors."""
    ax.set_axis_off()
    ax.set_title("measure, and half against half", loc="left")
    for index, (key, (words, digits)) in enumerate(WORDS.items()):
        y = 0.93 - 0.105 * index
        ax.text(0.0, y, words, transform=ax.transAxes, va="center")
        for x, likeness, colour in ((0.78, score.likeness, palette.INK), (1.0, score.floor, palette.FAINT)):
            ax.text(x, y, _number(likeness, key, digits), transform=ax.transAxes, ha="right", va="center", color=colour)
    rows, columns = score.shape
    lines = (
        f"rms noise over range: {score.noise[0]:.4f} and {score.noise[1]:.4f}",
        f"compared: {rows} × {columns} pixels of {score.pixel_size:.4g} Å",
    )
    for index, line in enumerate(lines):
        ax.text(0.0, 0.12 - 0.09 * index, line, transform=ax.transAxes, va="center", color=palette.FAINT, size=8)


def _number(likeness: Likeness, key: str, digits: str) -> str:
    value = getattr(likeness, key)
    return "–" if value is None else f"{value:.{digits}f}"
