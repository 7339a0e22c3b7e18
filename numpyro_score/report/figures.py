"""Figures of several parameters, one below the other, and the lines of their chains."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from numpyro_score.report.canvas import MARGIN, ROW_HEIGHT, blank, short, styled, to_svg


def rows(labels: Sequence[str], xlabel: str, fill: Callable[[Axes, int], None]) -> str:
    """A figure with a row for each parameter.

    Parameters
    ----------
    labels
        Of the parameters.
    xlabel
        Below the last row.
    fill
        Called with the axes of each row and its place; draws what is in it.

    Returns
    -------
    The figure as a `data:` address of an SVG image.

    Examples
    --------
    >>> rows(["x"], "draw", lambda ax, place: ax.axhline(0.0))[:24]
    'data:image/svg+xml,%3Csv'
    """
    with styled():
        figure = blank(MARGIN + ROW_HEIGHT * len(labels))
        axes = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
        for place, (ax, label) in enumerate(zip(axes, labels, strict=True)):
            fill(ax, place)
            ax.set_title(short(label), loc="left")
        axes[-1].set_xlabel(xlabel)
        return to_svg(figure)


def chain_lines(
    ax: Axes, x: Real[np.ndarray, " point"], y: Float[np.ndarray, "chain point"], **style: Any
) -> None:
    """A line for each chain in its colour, stored as pixels.

    One object for all lines: matplotlib takes a millisecond for each line of its own.

    Parameters
    ----------
    ax
        Where to.
    x, y
        Of the points.
    **style
        Passed to `LineCollection`.
    """
    points = np.stack([np.broadcast_to(x, y.shape), y], axis=-1)
    colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    lines = LineCollection(list(points), colors=colours, rasterized=True, zorder=2, **style)
    ax.add_collection(lines)
    ax.autoscale_view()
