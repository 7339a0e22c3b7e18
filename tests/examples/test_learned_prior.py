"""Numbers of the example on a learned prior."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow

APPROXIMATE = ("score, reverse SDE", "score, no spread", "score, Metropolis")


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("learned_prior")


def test_the_energy_learns_the_density(example: Example) -> None:
    names = example.names
    # a Gaussian of the same moments, which is where the network starts, is far off
    points, earlier = names["grid"], names["earlier"]
    gap = points - earlier.mean(0)
    gaussian = names["normalised"](
        -0.5 * np.einsum("...i,ij,...j", gap, np.linalg.inv(np.cov(earlier.T)), gap)
    )
    start = np.abs(gaussian - names["normalised"](names["log_true"])).sum() / 2
    assert names["prior_distance"] < start / 4
    assert names["posterior_distance"] < 0.1


def test_quadrature_and_weighted_draws_agree(example: Example) -> None:
    names = example.names
    for known, mean, error in zip(
        names["exact"], names["weighted"], names["weighted_errors"], strict=True
    ):
        assert (np.abs(mean - known.truth) < 4.5 * error).all()


def test_an_exact_kernel_samples_what_the_learned_prior_implies(example: Example) -> None:
    names = example.names
    assert names["runs"]["energy, MALA"].attrs["exact"] == 1
    assert names["found"].verdict.rhat_max < 1.02
    assert names["own_error"] < 4.5
    # what is left is the error of learning, which quadrature knows
    table = names["tables"]["energy, MALA"]
    learned = np.concatenate([known.truth for known in names["learned"]])
    bias = np.abs(learned - table.truth) / table["sd"]
    assert (table.error_sd <= bias + 4.5 * table.mcse / table["sd"]).all()
    assert table.error_sd.max() < 0.2


def test_scores_alone_are_marked_approximate_and_near(example: Example) -> None:
    names = example.names
    prior_sd = names["earlier"][:, 0].std()
    for name in APPROXIMATE:
        run, table = names["runs"][name], names["tables"][name]
        assert run.attrs["exact"] == 0
        assert np.isfinite(run.posterior["x"].values).all()
        assert table.error_sd.max() < 0.5
        # nearer to the posterior than to the prior
        assert run.posterior["x"].values[..., 0].std() < 0.75 * prior_sd
    # too sure without the spread
    sds = {name: names["runs"][name].posterior["x"].values[..., 0].std() for name in APPROXIMATE}
    exact = names["exact"]
    true_sd = np.sqrt(exact[1].truth[0] - exact[0].truth[0] ** 2)
    assert sds["score, no spread"] < 0.9 * true_sd
    assert names["tables"]["energy, MALA"].error_sd.max() < min(
        names["tables"][name].error_sd.max() for name in APPROXIMATE
    )
