"""What every diagnostic hands back: labelled numbers with units, a yes or no, and words.

A result is a Dataset. Its attributes are `is_flagged` (1 if something is wrong, else 0),
`findings` (what is wrong, in sentences) and `notes` (what could not be computed and why, and what
a number must not be taken for). Each variable has a `long_name` and `units`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import special, stats

FALSE_ALARM = 0.005
"""Probability that a diagnostic flags exact independent draws, over all that it tests."""

MAX_NAMED = 3
"""Labels that a sentence names before it counts the rest."""


def conclude(
    data: Mapping[str, tuple[Sequence[str], object, str, str]],
    coords: Mapping[str, object],
    *,
    findings: Sequence[str],
    notes: Sequence[str],
    **attrs: object,
) -> xr.Dataset:
    """A diagnostic's result.

    Parameters
    ----------
    data
        Name -> dimensions, values, what the variable is, and its units.
    coords
        Coordinates, as for `xarray.Dataset`.
    findings
        What is wrong, one sentence each; none means that nothing is.
    notes
        What could not be computed and why, and how the numbers are meant.
    **attrs
        Further attributes.

    Examples
    --------
    >>> data = {"tau": (("parameter",), [1.0], "autocorrelation time", "draws")}
    >>> result = conclude(data, {"parameter": ["x"]}, findings=[], notes=["short"])
    >>> result.attrs["is_flagged"], result.tau.units
    (0, 'draws')
    """
    variables = {
        name: (dims, np.asarray(values), {"long_name": long_name, "units": units})
        for name, (dims, values, long_name, units) in data.items()
    }
    words = {
        "is_flagged": int(bool(findings)),
        "findings": list(findings),
        "notes": list(notes),
    }
    return xr.Dataset(variables, coords=dict(coords), attrs={**words, **attrs})


def named(labels: Iterable[object]) -> str:
    """Some labels in a sentence.

    Parameters
    ----------
    labels
        At least one.

    Examples
    --------
    >>> named(["a", "b"]), named(["a", "b", "c", "d", "e"])
    ('a and b', 'a, b, c and 2 more')
    """
    texts = [str(label) for label in labels]
    shown, rest = texts[:MAX_NAMED], len(texts) - MAX_NAMED
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


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


def reasons_in_words(labels: Sequence[str], reasons: Sequence[str]) -> list[str]:
    """A sentence for every reason why some scalars have no numbers.

    Parameters
    ----------
    labels, reasons
        Of every scalar; the reason is "" where there are numbers.

    Examples
    --------
    >>> reasons_in_words(["a", "b", "c"], ["", "never changes", "never changes"])
    ['Nothing is computed for b and c: never changes.']
    """
    sentences = []
    for reason in dict.fromkeys(reason for reason in reasons if reason):
        which = [label for label, why in zip(labels, reasons, strict=True) if why == reason]
        sentences.append(f"Nothing is computed for {named(which)}: {reason}.")
    return sentences
