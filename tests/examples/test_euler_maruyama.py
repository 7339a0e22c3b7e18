"""Numbers of the example on Langevin dynamics in discrete time."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("euler_maruyama")


def test_grid_knows_the_gaussian(example: Example) -> None:
    exact = example.names["bias"]["Gaussian"]["exact"]
    np.testing.assert_allclose(exact, example.names["formula"], rtol=1e-5)


@pytest.mark.parametrize("name", ["Gaussian", "logistic"])
def test_chains_settle_at_the_biased_distribution(example: Example, name: str) -> None:
    row, truth = example.names["bias"][name], example.names["variance"][name]
    away = np.abs(row["measured"] - row["exact"]) / row["error"]
    assert away.max() < 4.5
    # and not at the target, which they are told from
    assert ((row["measured"] - truth) / row["error"])[-1] > 10


@pytest.mark.parametrize("name", ["Gaussian", "logistic"])
def test_bias_is_proportional_to_the_step(example: Example, name: str) -> None:
    row, eps = example.names["bias"][name], example.names["eps"]
    excess = (row["exact"] - example.names["variance"][name]) / eps
    assert excess[1] < 1.25 * excess[0]
    distance = row["total_variation"] / eps
    assert distance[1] < 1.25 * distance[0]


def test_histograms_are_within_chance_of_the_exact_distribution(example: Example) -> None:
    assert len(example.names["over_time"]) == 3
    for row in example.names["over_time"].values():
        assert (np.abs(row["histogram"] - row["binned"]) < 1.5 * row["chance"] + 1e-3).all()
        assert row["exact"][0] > 0.95
        assert row["exact"][-1] < 1.2 * row["limit"][-1]
        assert row["limit"][-1] > 0.01


def test_the_diffusion_forgets_exponentially(example: Example) -> None:
    flow = example.names["ornstein_uhlenbeck"]
    late = np.array([6.0, 8.0])
    np.testing.assert_allclose(flow(late, 10.0), 10 * np.exp(-late) / np.sqrt(2 * np.pi), rtol=1e-2)
