"""Plots of arviz-plots, one parameter below the other, in the page's style."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_base.labels import BaseLabeller
from arviz_plots import PlotCollection
from matplotlib.axes import Axes

from numpyro_score.report.canvas import MARGIN, ROW_HEIGHT, blank, restyle, short, styled, to_svg


class _Labels(BaseLabeller):
    """Titles that are the parameters' own labels."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    def make_label_vert(self, var_name: Any, sel: Any, isel: Any) -> str:
        del var_name, sel
        return self._labels[isel["parameter"]]


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
        As `FlatDraws.select` returns it.
    plot
        A function of arviz-plots that takes a `plot_collection`.
    finish
        Called with the axes, one per parameter, after the plot.
    by_chain
        Whether each chain has its own colour.
    **options
        Passed to `plot`.

    Returns
    -------
    The figure as a `data:` address of an SVG image.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> from arviz_plots import plot_trace
    >>> from numpyro_score.diagnostics import flatten
    >>> x = np.random.default_rng(0).normal(size=(2, 50))
    >>> draws = flatten(az.from_dict({"posterior": {"x": x}})).select([0])
    >>> draw(draws, plot_trace)[:24]
    'data:image/svg+xml,%3Csv'
    """
    labels = [short(label) for label in draws.label.values.tolist()]
    place = np.arange(len(labels))
    # some chains of many are numbered anew: arviz-plots takes them by number
    places = {"parameter": place, "chain": np.arange(draws.sizes["chain"])}
    data = xr.Dataset({"x": draws.drop_vars("label").assign_coords(places)})
    with styled():
        figure = blank(MARGIN + ROW_HEIGHT * len(labels))
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
        restyle(figure, axes)
        return to_svg(figure)
