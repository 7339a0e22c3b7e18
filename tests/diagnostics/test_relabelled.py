"""Modes that differ in labels or signs alone are told from others."""

import numpy as np
import xarray as xr

from numpyro_score.diagnostics import assess
from numpyro_score.diagnostics.relabelled import rearranged

LABELS = ["mu[0]", "mu[1]", "mu[2]", "sigma"]


def names(*means: list[float]) -> list[str]:
    return rearranged(np.array(means, float), np.full((len(means), 4), 0.3), LABELS)


def test_entries_that_change_places_or_signs() -> None:
    assert names([1, 5, 9, 2], [5, 1, 9, 2], [9, 5, 1, 2]) == ["mu"]
    assert names([1, 5, 9, 2], [-1, -5, -9, 2]) == ["mu"]
    # within a standard deviation nothing has moved, and another value is no other label
    assert names([1, 1.1, 9, 2], [1.1, 1, 9, 2]) == []
    assert names([1, 5, 9, 2], [5, 1, 12, 2]) == []
    assert names([1, 5, 9, 2], [5, 1, 9, 2], [1, 5, 20, 2]) == []


def test_an_assessment_says_so_and_is_no_worse_for_it() -> None:
    rng = np.random.default_rng(0)
    side = rng.random((4, 500, 1)) < 0.5
    mu = np.where(side, [-4.0, 3.0], [3.0, -4.0]) + rng.normal(size=(4, 500, 2))
    data = xr.Dataset({"mu": (("chain", "draw", "component"), mu)})
    found = assess(xr.DataTree.from_dict({"posterior": data}))
    assert [one.code for one in found.findings["modes"]] == ["modes", "relabelled"]
    assert found.status.value == "converged"
    assert (
        "* The modes look like one solution with other labels or signs: the entries of mu"
        in repr(found)
    )
