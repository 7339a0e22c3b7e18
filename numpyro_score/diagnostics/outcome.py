"""What every diagnostic returns: labelled numbers with units, a yes or no, and words.

A result is a Dataset. Its attributes are `is_flagged` (1 if something is wrong, else 0),
`findings` (what is wrong, in sentences) and `notes` (what could not be computed and why, and what
a number must not be taken for). Each variable has a `long_name` and `units`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import special, stats

from numpyro_score.diagnostics.finding import Finding
from numpyro_score.diagnostics.formatting import listed
from numpyro_score.diagnostics.wording import Wordings, sentences

FALSE_ALARM = 0.005
"""Probability that a diagnostic flags exact independent draws, over all that it tests."""


def conclude(
    data: Mapping[str, tuple[Sequence[str], object, str, str]],
    coords: Mapping[str, object],
    *,
    notes: Sequence[str],
    **attrs: object,
) -> xr.Dataset:
    """The numbers of a diagnostic.

    Parameters
    ----------
    data
        Name -> dimensions, values, what the variable is, and its units.
    coords
        Coordinates, as for `xarray.Dataset`.
    notes
        What could not be computed and why, and how the numbers are meant.
    **attrs
        Further attributes.

    Examples
    --------
    >>> data = {"tau": (("parameter",), [1.0], "autocorrelation time", "draws")}
    >>> conclude(data, {"parameter": ["x"]}, notes=["short"]).tau.units
    'draws'
    """
    variables = {
        name: (dims, np.asarray(values), {"long_name": long_name, "units": units})
        for name, (dims, values, long_name, units) in data.items()
    }
    return xr.Dataset(variables, coords=dict(coords), attrs={"notes": list(notes), **attrs})


def rank_normalised(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Normal scores of the ranks among all values, ties at their mean.

    `Phi^-1((r - 3/8) / (n + 1/4))`, as in Vehtari, Gelman, Simpson, Carpenter and Bürkner (Bayesian
    Analysis 16, 2021, arXiv:1903.08008): what is computed from them needs no moments.

    Parameters
    ----------
    values
        Finite values of any shape.

    Examples
    --------
    >>> rank_normalised(np.array([3.0, 1e9, -5.0])).round(2).tolist()
    [0.0, 0.87, -0.87]
    """
    ranks = stats.rankdata(values).reshape(values.shape)
    return special.ndtri((ranks - 0.375) / (values.size + 0.25))


def skip_notes(labels: Sequence[str], reasons: Sequence[str]) -> list[str]:
    """A sentence for every reason why no statistic of some scalars is computed.

    Parameters
    ----------
    labels, reasons
        Of every scalar; the reason is "" where there is one.

    Examples
    --------
    >>> skip_notes(["a", "b", "c"], ["", "constant", "constant"])
    ['No statistics are computed for b and c: constant.']
    """
    sentences = []
    for reason in dict.fromkeys(reason for reason in reasons if reason):
        which = [label for label, why in zip(labels, reasons, strict=True) if why == reason]
        sentences.append(f"No statistics are computed for {listed(which)}: {reason}.")
    return sentences


def with_findings(result: xr.Dataset, findings: list[Finding], wordings: Wordings) -> xr.Dataset:
    """A result with its findings in words among its attributes.

    Parameters
    ----------
    result
        What was computed.
    findings, wordings
        What it shows, and how that is worded.
    """
    words = sentences(findings, wordings)
    return result.assign_attrs(is_flagged=int(bool(words)), findings=words)
