"""Statistics of the chains and draws that a posterior has."""

import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics.draws import flatten


def run(chains: list[int], of_statistics: list[int], num_draws: int = 50) -> xr.DataTree:
    def group(name: str, chains: list[int], num_draws: int) -> xr.Dataset:
        values = np.tile(np.array(chains, float)[:, None], num_draws)
        return xr.Dataset(
            {name: (("chain", "draw"), values)}, {"chain": chains, "draw": np.arange(num_draws)}
        )

    groups = {"posterior": group("x", chains, num_draws)}
    groups["sample_stats"] = group("acceptance_rate", of_statistics, 50)
    return xr.DataTree.from_dict(groups)


def test_statistics_are_those_of_the_posterior_s_chains_and_draws() -> None:
    draws = flatten(run([1, 3], [0, 1, 2, 3], num_draws=20))
    known = draws.dt["sample_stats"].to_dataset()["acceptance_rate"]
    assert known.shape == (2, 20)
    assert known.chain.values.tolist() == known.values[:, 0].tolist() == [1, 3]


def test_a_tree_that_fits_is_left_alone_and_another_is_refused() -> None:
    tree = run([0, 1], [0, 1])
    assert flatten(tree).dt is tree
    with pytest.raises(ValueError, match=r"sample_stats has 2 entries along 'chain'.*1 others"):
        flatten(run([7], [0, 1]))
