"""Figures as inline SVG for self-contained pages: numbers in, markup out, without a plotting library or a script.

A figure scales with its column, prints, and takes its colours from the page (`FIGURE_STYLE`). Marks of one kind are one
path, so that thousands of points stay small. Figures for asset pages belong in `plots.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 12, 40

#: Colours on white, for a page that stays light.
LIGHT_COLOURS = """
:root{--ink:#1d2733;--soft:#5b6b7b;--line:#d5dde5;--faint:#edf1f5;--page:#fff;--panel:#f7f9fb;
--a:#2f6f4f;--b:#c2703d;--c:#3c6997;--muted:#a9b5c1}
"""
_DARK_COLOURS = """
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9fb0bf;--line:#33414e;--faint:#222d37;--page:#141b22;
--panel:#1a232c;--a:#63b58c;--b:#e29a68;--c:#7fb0dd;--muted:#5f6f7d}}
@media print{:root{--ink:#1d2733;--soft:#5b6b7b;--line:#d5dde5;--faint:#edf1f5;--page:#fff;--panel:#fff;--a:#2f6f4f;
--b:#c2703d;--c:#3c6997;--muted:#a9b5c1}}
"""
#: How figures look, in whatever colours the page has.
MARKS_STYLE = """
figure{margin:0;min-width:0;break-inside:avoid}figure svg{display:block;width:100%;height:auto}
figure h3{font-size:1rem;margin:0 0 .3rem}
figcaption{color:var(--soft);font-size:.87rem;line-height:1.45;margin-top:.2rem}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg .grid{stroke:var(--faint)}svg .axis{stroke:var(--muted)}
svg .a{fill:var(--a)}svg .b{fill:var(--b)}svg .c{fill:var(--c)}svg .muted{fill:var(--muted)}
svg .dots{fill:none;stroke-linecap:round}svg .dots.a{stroke:var(--a)}svg .dots.b{stroke:var(--b)}
svg .dots.c{stroke:var(--c)}svg .dots.muted{stroke:var(--muted)}
svg .mark{stroke:var(--b);stroke-width:1.5;stroke-dasharray:4 3}svg .band{fill:var(--muted);opacity:.3}
svg .rule{stroke:var(--soft);stroke-width:1}
.key{color:var(--soft);font-size:.82rem;margin:0 0 .1rem}.key span{white-space:nowrap;margin-right:.5em}
.key i{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin-right:.3em;background:var(--muted)}
.key .a{background:var(--a)}.key .b{background:var(--b)}.key .c{background:var(--c)}
"""
FIGURE_STYLE = LIGHT_COLOURS + _DARK_COLOURS + MARKS_STYLE


class Scale(NamedTuple):
    """Values `low`–`high` on pixels `start`–`stop`; values beyond are drawn at the edge."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        span = (self.high - self.low) or 1.0
        return self.start + (np.clip(values, self.low, self.high) - self.low) / span * (self.stop - self.start)

    def ticks(self, about: int = 5) -> np.ndarray:
        """Round values inside the scale: steps of 1, 2 or 5 times a power of ten."""
        rough = ((self.high - self.low) or 1.0) / about
        power = 10.0 ** np.floor(np.log10(rough))
        step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        return np.arange(np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9) + 1) * step


def x_scale(low: float, high: float) -> Scale:
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def y_scale(low: float, high: float) -> Scale:
    return Scale(low, high, HEIGHT - BOTTOM, TOP)


def figure(title: str, marks: str, x: Scale, y: Scale, labels: tuple[str, str], caption: str = "",
           key: Mapping[str, str] | None = None, x_names: Mapping[float, str] | None = None) -> str:
    """A titled figure: `marks` over a grid and two axes.

    Parameters
    ----------
    caption : markup. key : class of a mark → what it is. x_names : what stands at which x, instead of numbers.
    """
    grid = "".join(f"<line class=grid x1={LEFT} x2={WIDTH - RIGHT} y1={v:.1f} y2={v:.1f} />" for v in y(y.ticks()))
    y_ticks = "".join(f"<text x={LEFT - 6} y={at + 4:.1f} text-anchor=end>{number(value)}</text>"
                      for value, at in zip(y.ticks(), y(y.ticks()), strict=True))
    named = {float(value): number(value) for value in x.ticks()} if x_names is None else x_names
    x_ticks = "".join(f"<text x={x(np.array(value)):.1f} y={HEIGHT - BOTTOM + 15} text-anchor=middle>{escape(name)}"
                      "</text>" for value, name in named.items())
    words = "".join(f"<span><i class={name}></i>{escape(word)}</span> " for name, word in (key or {}).items())
    return (f"<figure><h3>{escape(title)}</h3>" + (f"<p class=key>{words}</p>" if words else "")
            + f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='{escape(title)}'>{grid}{marks}"
            f"<line class=axis x1={LEFT} x2={WIDTH - RIGHT} y1={HEIGHT - BOTTOM} y2={HEIGHT - BOTTOM} />"
            f"{x_ticks}{y_ticks}<text x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 6} text-anchor=middle>"
            f"{escape(labels[0])}</text><text transform='translate(11 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)' "
            f"text-anchor=middle>{escape(labels[1])}</text></svg><figcaption>{caption}</figcaption></figure>")


def histogram(title: str, groups: Sequence[tuple[str, str, np.ndarray]], low: float, high: float,
              labels: tuple[str, str], caption: str = "", bins: int = 40, bounds: Sequence[float] = ()) -> str:
    """Stacked counts of `groups` (class, name, values) between `low` and `high`; `bounds` are dashed lines."""
    counts = [np.histogram(np.clip(values[np.isfinite(values)], low, high), bins, (low, high))[0]
              for _, _, values in groups]
    tops = np.cumsum(counts, axis=0)
    x, y = x_scale(low, high), y_scale(0, 1.05 * max(tops.max(), 1))
    edges = x(np.linspace(low, high, bins + 1))
    marks = "".join(bars(name, edges, y(top - count), y(top))
                    for (name, _, _), count, top in zip(groups, counts, tops, strict=True))
    shown = {name: word for (name, word, _), count in zip(groups, counts, strict=True) if count.sum()}
    return figure(title, marks + "".join(vertical(x, bound) for bound in bounds if low < bound < high), x, y, labels,
                  caption, shown if len(shown) > 1 else None)


def bars(name: str, edges: np.ndarray, bottoms: np.ndarray, tops: np.ndarray) -> str:
    """Upright bars as one path."""
    drawn = zip(edges[:-1] + 0.5, edges[1:] - 0.5, bottoms, tops, strict=True)
    path = "".join(f"M{left:.1f} {bottom:.1f}V{top:.1f}H{right:.1f}V{bottom:.1f}z"
                   for left, right, bottom, top in drawn if bottom > top)
    return f"<path class={name} d='{path}' />"


def dots(name: str, x: np.ndarray, y: np.ndarray, size: float = 4, opacity: float = 0.6) -> str:
    """Points as one path of round strokes of no length."""
    path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
    return f"<path class='dots {name}' d='{path}' stroke-width={size} stroke-opacity={opacity} />"


def named_dots(name: str, x: np.ndarray, y: np.ndarray, names: Sequence[str], size: float = 3.5) -> str:
    """Points that say their name when pointed at."""
    return "".join(f"<circle class={name} cx={a:.1f} cy={b:.1f} r={size}><title>{escape(word)}</title></circle>"
                   for a, b, word in zip(x, y, names, strict=True))


def vertical(x: Scale, value: float) -> str:
    at = float(x(np.array(value)))
    return f"<line class=mark x1={at:.1f} x2={at:.1f} y1={TOP} y2={HEIGHT - BOTTOM} />"


def line(name: str, x: np.ndarray, y: np.ndarray) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f"<polyline class={name} points='{points}' fill=none />"


def area(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> str:
    outline = zip(np.append(x, x[::-1]), np.append(lower, upper[::-1]), strict=True)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in outline)
    return f"<polygon class=band points='{points}' />"


def number(value: float) -> str:
    """A tick's number: short, thousands apart, no −0."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.6g}"
