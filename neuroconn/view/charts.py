"""Charts as SVG text: labelled axes, few lines, colours that the colour-blind tell apart.

Colours are names of CSS variables, so that a page decides them, also for a dark screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 560, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 24, 40


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: what it measures, and from where to where."""

    label: str
    """Quantity and unit."""
    top: float
    bottom: float = 0.0


def ticks(bottom: float, top: float, wanted: int = 5) -> list[float]:
    """Round numbers between two values, about as many as wanted.

    Examples
    --------
    >>> ticks(0, 7.3)
    [0.0, 2.0, 4.0, 6.0]
    >>> ticks(0, 0)
    [0.0]
    """
    if not top > bottom:
        return [float(bottom)]
    raw = (top - bottom) / wanted
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(k * base for k in (1, 2, 5, 10) if k * base >= raw)
    first = math.ceil(bottom / step)
    last = math.floor(top / step * (1 + 1e-9))
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def line_chart(
    title: str,
    x: Axis,
    y: Axis,
    lines: Sequence[tuple[str, Sequence[Sequence[tuple[float, float]]]]],
    *,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Draw curves over a common axis.

    Parameters
    ----------
    title : str
        Said above the chart.
    x, y : Axis
        Their ranges and labels.
    lines : sequence of (colour, pieces)
        Each piece is a sequence of points; there is a gap between pieces.
    marks : sequence of (position, words), optional
        Vertical lines, for what happened at a moment.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    parts = [_frame(title, x, y, ticks(x.bottom, x.top, 6))]
    for at, words in marks:
        parts.append(
            f'<line x1="{_x(at, x):.1f}" x2="{_x(at, x):.1f}" y1="{_TOP}" '
            f'y2="{_HEIGHT - _BOTTOM}" class="mark"><title>{escape(words)}</title></line>'
        )
    for colour, pieces in lines:
        for piece in pieces:
            path = "L".join(f"{_x(a, x):.1f} {_y(b, y):.1f}" for a, b in piece)
            parts.append(
                f'<path d="M{path}" fill="none" stroke="var(--{colour})" stroke-width="1.8" '
                'stroke-linejoin="round"/>'
            )
    return _svg(title, parts)


def bar_chart(
    title: str, labels: Sequence[str], values: Sequence[float], x: str, y: str, colour: str
) -> str:
    """Draw a histogram.

    Parameters
    ----------
    title : str
        Said above the chart.
    labels : sequence of str
        One more than there are bars: the borders of their classes.
    values : sequence of float
        Heights.
    x, y : str
        Labels of the axes, with units.
    colour : str
        Of the bars.
    """
    high = Axis(y, max([*values, 1]) * 1.05)
    across = Axis(x, float(len(values)))
    parts = [_frame(title, across, high, [])]
    for i, value in enumerate(values):
        left, right = _x(i, across) + 1, _x(i + 1, across) - 1
        top = _y(value, high)
        span = f"{labels[i]} to {labels[i + 1]}: {value:,.0f}"
        parts.append(
            f'<rect x="{left:.1f}" width="{right - left:.1f}" y="{top:.1f}" '
            f'height="{_HEIGHT - _BOTTOM - top:.1f}" fill="var(--{colour})">'
            f"<title>{escape(span)}</title></rect>"
        )
    parts += [
        f'<text x="{_x(i, across):.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">'
        f"{escape(label)}</text>"
        for i, label in enumerate(labels)
    ]
    return _svg(title, parts)


def _frame(title: str, x: Axis, y: Axis, x_ticks: Sequence[float]) -> str:
    parts = [f'<text x="0" y="12" class="title">{escape(title)}</text>']
    for value in ticks(y.bottom, y.top, 4):
        at = _y(value, y)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:,.10g}</text>'
        )
    parts += [
        f'<text x="{_x(value, x):.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">'
        f"{value:,.10g}</text>"
        for value in x_ticks
    ]
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(x.label)}</text>"
        f'<text x="12" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 12 {middle})">{escape(y.label)}</text>'
    )
    return "".join(parts)


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )


def _x(value: float, axis: Axis) -> float:
    span = axis.top - axis.bottom
    share = (value - axis.bottom) / span if span > 0 else 0.0
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, share))


def _y(value: float, axis: Axis) -> float:
    span = axis.top - axis.bottom
    share = (value - axis.bottom) / span if span > 0 else 0.0
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(1.0, max(0.0, share))
