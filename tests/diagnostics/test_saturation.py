"""Draws at an upper bound, where floating point cuts a density off."""

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from numpyro_score.diagnostics import assess, quick_check
from numpyro_score.diagnostics.saturation import BOUNDS, at_bounds

SHAPE = (4, 1_000)
UNIFORM = (np.arange(4_000) + 0.5) / 4_000
DRAWS = np.random.default_rng(0).permutation(UNIFORM).reshape(SHAPE)


def run(values: Any, bounds: tuple[float, float] | None = (0.0, 1.0)) -> xr.DataTree:
    dims = ("chain", "draw", "part")[: np.ndim(values)]
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"p": (dims, values)})})
    if bounds is not None:
        tree.attrs[BOUNDS] = json.dumps({"p": bounds, "no_such_site": bounds})
    return tree


def found_in(tree: xr.DataTree) -> tuple[str, ...]:
    found = at_bounds(tree, tree["posterior"].to_dataset())
    return () if found is None else found.names


@pytest.mark.parametrize(("concentration", "is_told"), [(0.1, True), (0.2, True), (0.5, False)])
def test_a_density_without_limit_at_the_bound(concentration: float, is_told: bool) -> None:
    """Exact draws, rounded: of Beta(.1, .1) a tenth is within rounding of 1."""
    p = stats.beta(concentration, concentration).ppf(DRAWS).astype(np.float32)
    assert (found_in(run(p)) == ("p",)) == is_told
    codes = [one.code for one in quick_check(run(p))]
    assert ("saturated" in codes) == is_told


def test_it_is_told_in_words_here_and_in_an_assessment() -> None:
    p = DRAWS.astype(np.float32)
    p[:, :3] = 1.0
    tree = run(p)
    (saturated,) = (one for one in assess(tree).findings["mixing"] if one.code == "saturated")
    assert (saturated.parameters, saturated.value) == (("p",), 12)
    assert saturated in quick_check(tree)
    assert "saturated" not in [one.code for one in assess(run(DRAWS)).findings["mixing"]]


def test_only_sites_with_known_bounds_and_only_upper_ones() -> None:
    p = DRAWS.astype(np.float32)
    p[:, :3] = 1.0
    # a deterministic site may be 1, and near 0 numbers are as fine as need be
    assert found_in(run(p, None)) == ()
    assert found_in(run(np.where(p < 0.5, 1e-30, 0.5).astype(np.float32))) == ()
    assert found_in(run(p.astype(int))) == ()
    assert found_in(run(2 + p, (2.0, 3.0))) == ("p",)
    # of a simplex one part suffices
    assert found_in(run(np.stack([p, 1 - p], axis=-1))) == ("p",)


def test_double_precision_has_finer_numbers() -> None:
    p = 1.0 - 1e-9 * DRAWS
    assert found_in(run(p.astype(np.float32))) == ("p",)
    assert found_in(run(p)) == ()
