"""Draws of which little can be said: every diagnostic says why, without a warning."""

import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics import burn_in, discrepancy, mixing, modes


def by_score(dt):
    return discrepancy(dt, score_fn=lambda x: -x)


DIAGNOSTICS = [burn_in, mixing, modes, by_score]

DRAWS = np.random.default_rng(0).normal(size=(4, 200))
BROKEN = np.where(np.arange(200) == 7, np.inf, DRAWS)


@pytest.mark.parametrize("diagnose", DIAGNOSTICS)
@pytest.mark.parametrize(
    "values",
    [DRAWS[:1], DRAWS[:, :3], DRAWS[:1, :1], np.ones((4, 200)), np.full((4, 200), np.nan), BROKEN],
    ids=["one chain", "three draws", "one draw", "constant", "NaN", "one infinite"],
)
def test_what_cannot_be_computed_is_said(tree, diagnose, values):
    result = diagnose(tree(x=values))
    assert result.attrs["notes"]
    assert all(note.endswith(".") for note in result.attrs["notes"])
    for finding in result.attrs["findings"]:
        assert "nan" not in finding


@pytest.mark.parametrize("diagnose", DIAGNOSTICS)
@pytest.mark.parametrize(
    ("dt", "match"),
    [
        (xr.DataTree(), "no group 'posterior'"),
        (xr.DataTree.from_dict({"posterior": xr.Dataset()}), "holds no numeric draws"),
        (
            xr.DataTree.from_dict({"posterior": xr.Dataset({"x": ("chain", [1.0])})}),
            "need dimensions chain and draw",
        ),
    ],
    ids=["no posterior", "empty", "no draws"],
)
def test_no_draws_are_refused(diagnose, dt, match):
    with pytest.raises(ValueError, match=match):
        diagnose(dt)


def test_a_variable_of_length_0_is_left_out(tree):
    result = modes(tree(x=DRAWS, none=np.zeros((4, 200, 0))))
    assert not any("holds no numeric" in note for note in result.attrs["notes"])
