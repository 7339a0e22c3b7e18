"""Figures as SVG that follow the page into dark mode and onto paper.

arviz-plots draws; this file makes each figure itself and styles it, so that neither pyplot nor the
user's plotting backend is touched. Lines are stored as pixels inside the SVG (a run has tens of
thousands of points), text and axes as vectors in the page's colours.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
import numpy as np
import xarray as xr
from arviz_base.labels import BaseLabeller
from arviz_plots import PlotCollection
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.rcsetup import cycler
from matplotlib.text import Text

from numpyro_score.diagnostics.rhat_ess import quiet

WIDTH, ROW_HEIGHT, MARGIN = 5.4, 1.15, 0.45
"""Inches: width of a figure, height of one parameter's row, room for what is below the rows."""

PIXELS_PER_INCH = 110
"""Resolution of the lines; more is not seen at the size that the page gives them."""

INK = "#010203"
"""Stands for the page's text colour until the figure is text itself."""

_INKS = re.compile(f"{INK}|#000000|#595959|#949494")
"""That, and the black and greys that arviz-plots draws with on white."""

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


class _Labels(BaseLabeller):
    """Titles that are the parameters' own labels."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    def make_label_vert(self, var_name: Any, sel: Any, isel: Any) -> str:
        del var_name, sel
        return self._labels[isel["parameter"]]


def _to_svg(figure: Figure) -> str:
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


def draw(
    draws: xr.DataArray,
    plot: Callable[..., Any],
    finish: Callable[[Sequence[Axes]], None] = lambda axes: None,
    *,
    by_chain: bool = True,
    **options: Any,
) -> str:
    """A plot of some parameters, one below the other.

    Parameters
    ----------
    draws
        As `numpyro_score.diagnostics.draws.select` returns it.
    plot
        A function of arviz-plots that takes a `plot_collection`.
    finish
        Called with the axes, one a parameter, after the plot.
    by_chain
        Whether each chain has a colour of its own.
    **options
        Passed to `plot`.

    Returns
    -------
    The figure as a `data:` address of an SVG image.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from arviz_plots import plot_trace
    >>> from numpyro_score.diagnostics.draws import select
    >>> x = np.random.default_rng(0).normal(size=(2, 50))
    >>> draws = select(xr.Dataset({"x": (("chain", "draw"), x)}), [0])
    >>> draw(draws, plot_trace)[:24]
    'data:image/svg+xml,%3Csv'
    """
    labels = [_short(label) for label in draws.label.values.tolist()]
    place = np.arange(len(labels))
    # some chains of many are numbered anew: arviz-plots takes them by number
    places = {"parameter": place, "chain": np.arange(draws.sizes["chain"])}
    data = xr.Dataset({"x": draws.drop_vars("label").assign_coords(places)})
    with mpl.rc_context(STYLE), quiet(), warnings.catch_warnings():
        # about glyphs a font lacks, limits that coincide: the figure is drawn all the same
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(WIDTH, MARGIN + ROW_HEIGHT * len(labels)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0])
        grid = {"plot": axes, "row_index": place, "col_index": 0 * place}
        viz = {
            name: xr.Dataset({"x": ("parameter", np.asarray(values))}, coords={"parameter": place})
            for name, values in grid.items()
        }
        viz["/"] = xr.Dataset({"figure": np.array(figure, dtype=object)})
        aes = {"color": ["chain"], "overlay": ["chain"]} if by_chain else {}
        collection = PlotCollection(data, xr.DataTree.from_dict(viz), aes=aes, backend="matplotlib")
        plot(
            xr.DataTree.from_dict({"posterior": data}),
            plot_collection=collection,
            labeller=_Labels(labels),
            **options,
        )
        finish(axes)
        _restyle(figure, axes)
        return _to_svg(figure)


def _short(label: str, length: int = 60) -> str:
    return label if len(label) <= length else f"{label[: length - 1]}…"


def _restyle(figure: Figure, axes: Sequence[Axes]) -> None:
    for text in figure.findobj(Text):
        text.set_color(INK)
    for ax in axes:
        ax.set_title(ax.get_title(), loc="left")
        ax.title.set_text("")
        ax.set_ylabel("")
        if ax is not axes[-1]:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        for line in ax.findobj(Line2D):
            if np.size(line.get_xdata()) > 10:
                line.set_rasterized(True)
