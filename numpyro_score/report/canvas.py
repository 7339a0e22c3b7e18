"""The look of every figure: SVG that follows the page into dark mode and onto paper.

Figures are made without pyplot, which leaves the user's plotting backend alone.
Lines and points are stored as pixels inside the SVG (a run has tens of thousands of points), text
and axes as vectors in the page's colours.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from numpyro_score.diagnostics.formatting import count, number
from numpyro_score.diagnostics.rhat_ess import quiet

WIDTH, ROW_HEIGHT, MARGIN = 5.4, 1.15, 0.45
"""Inches: width of a figure, height of one parameter's row, room for what is below the rows."""

PIXELS_PER_INCH = 110
"""Resolution of the lines; more is not visible at their size on the page."""

SHADE: dict[str, Any] = {"color": "#000000", "alpha": 0.13, "linewidth": 0}
"""Of warmup, and of bands."""

INK = "#010203"
"""Stands for the page's text colour until the figure is text itself."""

_INKS = re.compile(f"{INK}|#000000")
"""That, and the black of shades."""

CHAIN_COLOURS = (
    "#4e8fd6",
    "#e8853c",
    "#3fa66a",
    "#d65f79",
    "#9a78d0",
    "#a3814f",
    "#d777c0",
    "#7d8b99",
    "#b5a827",
    "#35a9b8",
)
"""Readable on white and on black."""

STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=CHAIN_COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.facecolor": "#ffffff",
    "font.size": 9.5,
    "lines.linewidth": 0.8,
    "svg.fonttype": "none",
    "text.color": INK,
    # a site's name is a name, not mathematics
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}

_URI_SAFE = " /:;=,+-_.!~*()?@$'"
"""Characters that a data address need not encode."""

THEME = (
    # a black fill is SVG's default, and not written out
    "<style>svg{color:#1d2329;fill:currentColor}"
    "@media (prefers-color-scheme:dark){svg{color:#d5dbe1}}"
    "text{font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}</style>"
)


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures have the page's style, and matplotlib's messages are silenced."""
    with mpl.rc_context(STYLE), quiet(), warnings.catch_warnings():
        # about glyphs a font lacks, limits that coincide: the figure is drawn all the same
        warnings.simplefilter("ignore")
        yield


def blank(height: float) -> Figure:
    """An empty figure, as wide as the page's columns and `height` inches high."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as a `data:` address of an SVG image."""
    buffer = BytesIO()
    figure.savefig(
        buffer, format="svg", transparent=True, dpi=PIXELS_PER_INCH, metadata={"Date": None}
    )
    svg = buffer.getvalue().decode("utf-8")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(_INKS, "currentColor", svg[svg.index("<svg") :])
    end = svg.index(">") + 1
    svg = svg[:end] + THEME + svg[end:]
    # not base64: the pixels inside already are, and would grow by a third once more
    return "data:image/svg+xml," + quote(svg.replace("\n", " "), safe=_URI_SAFE)


def short(label: str, length: int = 60) -> str:
    """A label that fits above a figure."""
    return label if len(label) <= length else f"{label[: length - 1]}…"


def logarithmic(axis: Any) -> None:
    """A scale with ticks at 1, 2 and 5 at most, in plain digits."""
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axis.set_minor_locator(NullLocator())


def _tick(value: float) -> str:
    return count(value) if value >= 1000 else number(value)
