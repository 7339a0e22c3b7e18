"""Variables in groups inside of `posterior`: read, by diagnostics and by what is fitted."""

import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics import assess, flatten
from numpyro_score.diagnostics.files import read_draws, write_draws
from numpyro_score.groups import SAMPLE_DIMS, read_group
from numpyro_score.training.data import as_points

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 400))
SLOW = np.cumsum(X, axis=1)


def nested(**groups):
    return xr.DataTree.from_dict(
        {
            f"posterior/{path}".rstrip("/"): xr.Dataset(
                {
                    name: ((*SAMPLE_DIMS, *(f"d{i}" for i in range(values.ndim - 2))), values)
                    for name, values in variables.items()
                }
            )
            for path, variables in groups.items()
        }
    )


def test_they_are_read_by_their_path(tmp_path):
    dt = nested(**{"": {"mu": X}, "net": {"w": SLOW}, "net/deep": {"b": X}})
    for tree in (dt, read_draws(write_draws(dt, tmp_path / "x.nc"))):
        assert flatten(tree).labels == ["mu", "net/w", "net/deep/b"]
        np.testing.assert_array_equal(flatten(tree).values[1], SLOW)
        assert as_points(tree).variables == ("mu", "net/w", "net/deep/b")


def test_what_is_wrong_in_them_is_found():
    found = assess(nested(**{"": {"mu": X}, "net": {"w": SLOW}}))
    assert not found.verdict.is_converged
    assert "net/w" in found.remarks()[0].finding


def test_a_posterior_of_groups_alone():
    found = assess(nested(net={"w": SLOW}, other={"v": X}))
    assert found.mixing.parameter.values.tolist() == ["net/w", "other/v"]
    assert not found.failures


def test_dimensions_of_one_name_and_other_sizes():
    dt = nested(a={"w": RNG.normal(size=(4, 400, 2))}, b={"w": RNG.normal(size=(4, 400, 3))})
    assert flatten(dt).labels == ["a/w[0]", "a/w[1]", "b/w[0]", "b/w[1]", "b/w[2]"]
    data = read_group(dt, "posterior")
    assert data["b/w"].sizes["b/d0"] == 3


def test_groups_of_other_lengths_are_refused():
    dt = nested(a={"w": X}, b={"w": X[:, :100]})
    with pytest.raises(ValueError, match=r"posterior/b has draw=100, where others .* draw=400"):
        flatten(dt)
