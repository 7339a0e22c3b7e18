"""Figure of a calibration: ECDFs of the ranks, less the uniform CDF, with simultaneous bands."""

from typing import TYPE_CHECKING

import numpy as np

from numpyro_score.calibration.credible import DENSITY
from numpyro_score.calibration.uniformity import band
from numpyro_score.report.canvas import CHAIN_COLOURS, SHADE, blank, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from numpyro_score.calibration.result import Calibration

GOOD, BAD = CHAIN_COLOURS[0], CHAIN_COLOURS[3]
"""Colours of quantities that stay in their band, and of those that leave it."""

PANEL = (1.8, 1.6)
"""Inches of one panel."""


def ecdf_figure(calibration: "Calibration", names: list[str], num_columns: int) -> "Figure":
    """A panel for each of the named quantities.

    Parameters
    ----------
    calibration
        The result of `sbc` or `posterior_sbc`.
    names
        Quantities, in the order of the panels.
    num_columns
        Panels in a row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(names) // num_columns)
    with styled():
        size = (PANEL[0] * num_columns, PANEL[1] * rows)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, num_columns, squeeze=False, sharex=True, sharey=True)
        for ax in axes.flat[len(names) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, names, strict=False):
            values = calibration.pit.sel(quantity=name).values
            values = np.sort(values[np.isfinite(values)])
            is_well = bool(calibration.table.loc[name, "is_calibrated"])
            # the band of this quantity, at the rate of the verdict on all of them
            z, lower, upper = band(len(values), 1 - calibration.alpha / len(calibration.table))
            ecdf = np.searchsorted(values, z, side="right") / len(values)
            ax.fill_between(z, lower - z, upper - z, **SHADE)
            ax.plot(z, ecdf - z, color=GOOD if is_well else BAD, linewidth=1.2)
            ax.set_title(short(name, 24) if is_well else f"{short(name, 14)}: off", loc="left")
            ax.set_xlim(0, 1)
        for ax in axes[-1]:
            ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        figure.supxlabel("normalised rank of the true value", fontsize=9.5)
        figure.supylabel("ECDF less uniform CDF", fontsize=9.5)
    return figure


def coverage_figure(calibration: "Calibration") -> "Figure":
    """Expected coverage by credibility, with the band of a calibrated posterior.

    Parameters
    ----------
    calibration
        Of an amortised posterior.

    Raises
    ------
    ValueError
        As `Calibration.coverage`.
    """
    found = calibration.coverage(199)
    with styled():
        figure = blank(3.2)
        ax = figure.subplots()
        num = int(np.isfinite(calibration.pit.sel(quantity=DENSITY).values).sum())
        z, lower, upper = band(num, 1 - calibration.alpha / len(calibration.table))
        ax.fill_between(z, lower, upper, **SHADE)
        ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
        for name, values in found.items():
            ax.plot(found.index, values, label=name, linewidth=1.2)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="credibility", ylabel="share that holds the truth")
        ax.legend(frameon=False, loc="upper left")
    return figure
