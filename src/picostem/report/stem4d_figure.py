"""The figure of `picostem 4d`: the mean pattern, maps over the scan, and what the autoencoder makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_rgb
from matplotlib.patches import Circle
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.report import palette
from picostem.report.lettering import shortened, with_glyphs
from picostem.report.panel_field import direction_colours
from picostem.report.panel_image import scale_bar
from picostem.report.sheet import LEFT, Sheet, colour_bar, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from PIL.Image import Image as Picture

    from picostem.stem4d.analysis import Analysis, Learned
    from picostem.stem4d.harmonics import Order

FloatArray = NDArray[np.float64]

PANEL, GAP, TITLE = 2.9, 0.8, 0.62
"""Side of a panel, room between two for a bar, and above a row, inches."""
COLUMNS, TOP, BOTTOM = 5, 1.35, 0.55
ORDERS = 4
"""Of harmonics that are shown."""
AROUND = 1.5
"""Radii of the bright disk that are shown of patterns; beyond, little changes."""
STEPS, REACH = 8, (0.02, 0.98)
"""Pictures along a latent, beside that at the medians, and the quantiles of it between which they lie."""
SIDE = 160
"""Pixels of such a picture before it is cut."""
CLIPPED = 0.01
"""Share of the positions at either end of a map that its colours do not tell apart."""
NATURAL = 1 / np.sqrt(3)
"""Standard error, over pi / n, of an angle of which nothing is known."""


def draw_picture(analysis: Analysis) -> Picture:
    """The figure as pixels, RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(draw(analysis))
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def draw(analysis: Analysis) -> Sheet:
    """Rows of panels: detector and deflection; harmonics; autoencoder. The user's matplotlib settings do not matter."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        rows = 2 if analysis.learned is None else 4
        width, height = LEFT + COLUMNS * (PANEL + GAP), TOP + rows * PANEL + (rows - 1) * TITLE + BOTTOM
        sheet = Sheet(figsize=(width, height))
        _headline(sheet, analysis)
        letters = iter("abcdefghijklmnopqrst")
        _deflections(sheet, analysis, letters)
        _harmonics(sheet, analysis, letters)
        if analysis.learned is not None:
            _latents(sheet, analysis, analysis.learned, letters)
            _manifold(sheet, analysis, analysis.learned, letters)
        return sheet


def _headline(sheet: Sheet, analysis: Analysis) -> None:
    scan, (width, height) = analysis.scan, sheet.get_size_inches()
    size = " × ".join(map(str, scan.shape))
    pixels = " × ".join(map(str, scan.detector.shape))
    facts = [f"{size} patterns of {pixels} pixels"]
    if analysis.com is not None:
        electrons = analysis.settings.electrons_per_count * float(np.median(analysis.com.counts))
        facts.append(f"{electrons:.4g} electrons each")
    if analysis.learned is not None:
        facts.append(_told(analysis.learned))
    lines = [(0.38, scan.name, 19.0, "bold"), (0.76, "   ·   ".join(facts), 11.5, "normal")]
    for top, text, points, weight in lines:
        shown = shortened(with_glyphs(text), width - 2 * LEFT, points, bold=weight == "bold")
        sheet.text(LEFT / width, 1 - top / height, shown, size=points, weight=weight, va="center")


def _told(learned: Learned) -> str:
    """What latents tell of a pattern, and how far its orientation is told, on average."""
    latents = ", ".join(f"z{k} {nats:.1f} nats" for k, nats in enumerate(learned.alarms.latents))
    angle = f"angle {np.median(learned.found.angle_sigma) / DEGREE:.2g}° typical σ"
    return "autoencoder: " + "; ".join(filter(None, (latents, angle)))


def _at(sheet: Sheet, row: int, column: int, letters: Any, title: str, wide: int = 1) -> Axes:
    left, top = LEFT + column * (PANEL + GAP), TOP + row * (PANEL + TITLE)
    side = (wide * PANEL + (wide - 1) * GAP, PANEL)
    room = side[0] + GAP - 0.35
    ax = place(sheet, left, top, side, next(letters), " " + shortened(with_glyphs(title), room, 10.5))
    ax.set(xticks=[], yticks=[])
    return ax


def _map(ax: Axes, analysis: Analysis, values: FloatArray, colours: str, norm: Normalize | None = None) -> AxesImage:
    """A map over the scan with its scale bar; colours end where CLIPPED of it lies beyond."""
    dy, dx = analysis.scan.step_A or (1.0, 1.0)
    rows, columns = analysis.scan.shape
    if norm is None:
        known = values[np.isfinite(values)]
        norm = Normalize(*np.quantile(known, (CLIPPED, 1 - CLIPPED))) if len(known) else Normalize(0, 1)
    ax.set_facecolor(palette.BLANK)
    extent = (0, columns * dx, 0, rows * dy)
    shown = ax.imshow(values, cmap=colours, norm=norm, extent=extent, interpolation="nearest")
    ax.set_anchor("NW")
    ax.apply_aspect()
    scale_bar(ax, analysis.scan.step_A is not None)
    return shown


def _bar(sheet: Sheet, ax: Axes, shown: AxesImage) -> None:
    """A bar of the panel's colours, its numbers short."""
    colour_bar(sheet, ax, shown).yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")


def _signed(values: FloatArray) -> Normalize:
    known = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(known, 1 - CLIPPED)) if len(known) else 1.0
    return Normalize(-limit or -1.0, limit or 1.0)


def _deflections(sheet: Sheet, analysis: Analysis, letters: Any) -> None:
    ax = _at(sheet, 0, 0, letters, "mean pattern, its square root" if analysis.counted else "mean pattern")
    _pattern(ax, analysis)
    unit = analysis.scan.detector.unit
    ax = _at(sheet, 0, 1, letters, f"dark field, beyond {analysis.inner:.3g} {unit}")
    _bar(sheet, ax, _map(ax, analysis, analysis.dark, "gray"))
    if analysis.com is None:
        ax = _at(sheet, 0, 2, letters, "bright field")
        _bar(sheet, ax, _map(ax, analysis, analysis.bright, "gray"))
        return
    vectors = analysis.com.vectors * (analysis.scan.detector.mrad or 1.0)
    length = np.linalg.norm(vectors, axis=-1)
    most = float(np.nanquantile(length, 1 - CLIPPED)) or 1.0
    ax = _at(sheet, 0, 2, letters, f"centre of mass, up to {most:.3g} {analysis.momentum_unit}")
    _hues(sheet, ax, analysis, np.arctan2(vectors[..., 1], vectors[..., 0]), np.clip(length / most, 0, 1), 1)
    if analysis.field is None:
        return
    field = analysis.field
    per = f"{unit} per {'Å' if analysis.scan.step_A else 'position'}"
    ax = _at(sheet, 0, 3, letters, f"its divergence, {per}")
    _bar(sheet, ax, _map(ax, analysis, field.divergence, palette.SIGNED, _signed(field.divergence)))
    ax = _at(sheet, 0, 4, letters, f"{'phase' if field.phase_unit == 'rad' else 'its integral'}, {field.phase_unit}")
    _bar(sheet, ax, _map(ax, analysis, field.phase, "gray"))


def _pattern(ax: Axes, analysis: Analysis) -> None:
    """The mean pattern as the detector has it, with the disk and the outermost ring."""
    detector, pattern = analysis.scan.detector, analysis.pattern
    if analysis.counted:
        ax.imshow(np.sqrt(np.maximum(pattern, 0)), cmap="gray", interpolation="nearest")
    else:
        ax.imshow(pattern, cmap=palette.SIGNED, norm=_signed(pattern), interpolation="nearest")
    pixel = float(np.sqrt(abs(np.linalg.det(np.asarray(detector.matrix)))))
    row, column = detector.centre
    rings = [(analysis.harmonics.radii[-1] / pixel, palette.LAYERS[1])]
    rings += [(analysis.disk.radius, palette.LAYERS[0])] if analysis.disk else []
    for radius, colour in rings:
        ax.add_patch(Circle((column, row), radius, fc="none", ec=colour, lw=1.3))
    ax.plot(column, row, "+", color=palette.LAYERS[0], ms=8)
    ax.set(xlim=(-0.5, detector.shape[1] - 0.5), ylim=(detector.shape[0] - 0.5, -0.5), anchor="NW")


def _harmonics(sheet: Sheet, analysis: Analysis, letters: Any) -> None:
    """Orientations of the declared symmetry and of the other orders that stand out most, what repeats in no other cell,
    and what breaks the symmetry."""
    n, odd = analysis.settings.symmetry, analysis.unusual
    shown = ORDERS if odd is None else ORDERS - 1
    ranked = sorted(analysis.orders, key=lambda one: (one.m == n, _stands_out(one)))[-shown:]
    for column, one in enumerate(sorted(ranked, key=lambda one: one.m)):
        strong = float(np.quantile(one.strength, 1 - CLIPPED)) or 1.0
        ax = _at(sheet, 1, column, letters, f"orientation, order {one.m}")
        _hues(sheet, ax, analysis, one.angle, np.clip(one.strength / strong, 0, 1), one.m)
    if odd is not None:
        ax = _at(sheet, 1, 3, letters, "unlike other unit cells, σ")
        _bar(sheet, ax, _map(ax, analysis, odd, palette.MAGNITUDE))
    ax = _at(sheet, 1, 4, letters, f"breaking of {analysis.settings.broken}-fold symmetry")
    _bar(sheet, ax, _map(ax, analysis, analysis.breaking, palette.MAGNITUDE))


def _stands_out(order: Order) -> float:
    """Mean power of a harmonic over that of its noise, or alone where that is not known."""
    noise = float(np.mean(order.sigma**2))
    return float(np.mean(order.strength**2)) / (noise or 1.0)


def _latents(sheet: Sheet, analysis: Analysis, learned: Learned, letters: Any) -> None:
    found, shape, n = learned.found, analysis.scan.shape, analysis.settings.symmetry
    for column, k in enumerate(_chosen(learned)):
        state = f"typical σ {np.median(found.sigma[:, k]):.2g}" if learned.alarms.active[k] else "not active"
        ax = _at(sheet, 2, column, letters, f"latent z{k}, {state}")
        _bar(sheet, ax, _map(ax, analysis, found.mean[:, k].reshape(shape), palette.MAGNITUDE))
    unknown = NATURAL * np.pi / n
    sure = np.clip(1 - found.angle_sigma / unknown, 0, 1).reshape(shape)
    typical = np.median(found.angle_sigma) / DEGREE
    ax = _at(sheet, 2, 2, letters, f"angle, typical σ {typical:.2g}°; pale: unsure")
    _hues(sheet, ax, analysis, found.angle.reshape(shape), sure, n)
    ax = _at(sheet, 2, 3, letters, "σ of the angle, °")
    _bar(sheet, ax, _map(ax, analysis, found.angle_sigma.reshape(shape) / DEGREE, palette.MAGNITUDE))
    groups = learned.clusters if analysis.settings.classes == 1 else found.classes.argmax(axis=1)
    title = "clusters of the latents" if analysis.settings.classes == 1 else "classes"
    ax = _at(sheet, 2, 4, letters, f"{title}: {len(np.unique(groups))}")
    _map(ax, analysis, _colours(groups).reshape(*shape, 3), "gray", Normalize(0, 1))


def _chosen(learned: Learned) -> list[int]:
    """The two latents that tell most, in their order."""
    return sorted(np.argsort(learned.alarms.latents)[::-1][:2].tolist())


def _colours(groups: NDArray[np.int64]) -> FloatArray:
    return np.array([to_rgb(one) for one in palette.DOMAINS])[groups % len(palette.DOMAINS)]


def _manifold(sheet: Sheet, analysis: Analysis, learned: Learned, letters: Any) -> None:
    """Patterns along the latents, the latents of all positions, and how they compare with other maps."""
    chosen = _chosen(learned)
    values = learned.found.mean
    if chosen:
        telling = [k for k in chosen if learned.alarms.active[k]] or chosen
        title = ", ".join(f"z{k} from {_end(values, k, 0):.1f} to {_end(values, k, 1):.1f}" for k in telling)
        ax = _at(sheet, 3, 0, letters, f"the pattern of the median latents, and its change along {title}", 3)
        _traversal(ax, analysis, learned, telling)
        names = [f"z{k}" for k in chosen]
        ax = _at(sheet, 3, 3, letters, "latents of all positions" + (", by cluster" if len(chosen) > 1 else ""))
        _cloud(ax, learned, chosen, names)
    ax = _at(sheet, 3, 4, letters, "latents against maps: mutual information")
    _agreement(sheet, ax, analysis)


def _end(values: FloatArray, k: int, end: int) -> float:
    return float(np.quantile(values[:, k], REACH[end]))


def _traversal(ax: Axes, analysis: Analysis, learned: Learned, chosen: list[int]) -> None:
    """A row for each latent: the pattern of the medians, and how it changes if this latent does; y up, angle 0."""
    values = learned.found.mean
    middle = np.median(values, axis=0)
    at = np.tile(middle, (len(chosen), STEPS, 1))
    for row, k in enumerate(chosen):
        at[row, :, k] = np.linspace(_end(values, k, 0), _end(values, k, 1), STEPS)
    drawn = learned.model.draw(np.vstack([middle, at.reshape(-1, values.shape[1])]), side=SIDE)
    drawn = np.where(np.hypot(*np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]) <= 1, drawn, np.nan)
    cut = _margin(analysis)
    first, *others = drawn[:, cut : SIDE - cut, cut : SIDE - cut]
    rows = (np.array(others) - first).reshape(len(chosen), STEPS, *first.shape)
    brightest = float(np.nanquantile(np.abs(first), 1 - CLIPPED)) or 1.0
    for row, pictures in enumerate(rows):
        extent = (0.0, 0.96, -1.25 * row - 0.96, -1.25 * row)
        if analysis.counted:
            ax.imshow(first, cmap="magma", extent=extent)
        else:
            ax.imshow(first, cmap=palette.SIGNED, norm=Normalize(-brightest, brightest), extent=extent)
        limit = float(np.nanquantile(np.abs(pictures), 1 - CLIPPED)) or 1.0
        for column, picture in enumerate(pictures, 1):
            extent = (column + 0.0, column + 0.96, -1.25 * row - 0.96, -1.25 * row)
            ax.imshow(picture, cmap=palette.SIGNED, norm=Normalize(-limit, limit), extent=extent)
        words = f"z{chosen[row]}, colours to ±{100 * limit / brightest:.2g} % of the pattern's brightest"
        ax.text(1.0, -1.25 * row - 1.0, words, va="top", size=8.5)
    ax.set(xlim=(0, STEPS + 1), ylim=(-len(chosen) * 1.25, 0), anchor="NW", aspect="equal")
    ax.set_axis_off()


def _margin(analysis: Analysis) -> int:
    """Pixels that are cut off all sides of a picture of a pattern."""
    if analysis.disk is None:
        return 0
    pixel = float(np.sqrt(abs(np.linalg.det(np.asarray(analysis.scan.detector.matrix)))))
    shown = AROUND * analysis.disk.radius * pixel / float(analysis.harmonics.radii[-1])
    return max(0, round(SIDE * (1 - shown) / 2))


def _cloud(ax: Axes, learned: Learned, chosen: list[int], names: list[str]) -> None:
    values = learned.found.mean[:, chosen]
    if len(chosen) == 1:
        ax.hist(values[:, 0], 40, color=palette.DOMAINS[0])
    else:
        size = np.clip(3000 / len(values), 1, 12)
        x, y = values.T
        ax.scatter(x, y, s=size, color=_colours(learned.clusters), alpha=0.6, linewidths=0)
    ax.set(xlabel=names[0], ylabel=names[1] if len(names) > 1 else "positions")
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))


def _agreement(sheet: Sheet, ax: Axes, analysis: Analysis) -> None:
    """Bars of the mutual information with each map, Spearman's rho beside them."""
    latents = sorted({one.latent for one in analysis.agreements})
    maps = list(dict.fromkeys(one.map for one in analysis.agreements))
    told = {(one.latent, one.map): one for one in analysis.agreements}
    height = 0.8 / max(len(latents), 1)
    for row, name in enumerate(maps):
        for k, latent in enumerate(latents):
            one, y = told[latent, name], row + (k + 0.5) * height - 0.4
            ax.barh(y, one.information, height, color=palette.DOMAINS[k % len(palette.DOMAINS)])
            ax.text(one.information, y, f" ρ {one.rho:+.2f}", va="center", size=7)
        ax.text(-0.02, row, with_glyphs(name), va="center", ha="right", size=8, transform=ax.get_yaxis_transform())
    most = max((one.information for one in analysis.agreements), default=1.0)
    ax.set(xlim=(0, 1.35 * most or 1.0), ylim=(len(maps) - 0.4, -0.6), xlabel=f"nats ({', '.join(latents)} from above)")
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))


def _hues(sheet: Sheet, ax: Axes, analysis: Analysis, angle: FloatArray, weight: FloatArray, n: int) -> None:
    """Directions modulo 2 pi / n as colours, paler the less weight they have, with a wheel beside the panel."""
    known = np.isfinite(angle)
    colours = direction_colours()((np.where(known, n * angle, 0) / (2 * np.pi)) % 1)[..., :3]
    share = np.where(known, weight, 0)[..., None]
    _map(ax, analysis, share * colours + (1 - share) * np.array(to_rgb(palette.PAPER)), "gray", Normalize(0, 1))
    box, (width, height) = ax.get_position(), sheet.get_size_inches()
    side = 0.52
    wheel = sheet.add_axes((box.x1 + 0.07 / width, box.y1 - side / height, side / width, side / height))
    y, x = np.mgrid[1:-1:101j, -1:1:101j]
    radius = np.hypot(x, y)
    turned = direction_colours()((n * np.arctan2(y, x) / (2 * np.pi)) % 1)
    turned[..., :3] = 1 - radius[..., None].clip(0, 1) * (1 - turned[..., :3])
    turned[..., 3] = np.clip((1 - radius) * 50, 0, 1)
    wheel.imshow(turned)
    wheel.set_axis_off()
