"""Populations of particles that differ far too much are told from those that do not."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numpyro_score.infer import TemperedSMC
from numpyro_score.infer.populations import LEAST_WORTH, disagreement, most_worth

NUM_PARTICLES = 400


def populations(worth: float, num_chains: int, seed: int, dim: int = 5) -> np.ndarray:
    """Populations whose means differ as those of `worth` independent draws."""
    rng = np.random.default_rng(seed)
    shape = (num_chains, 1, dim)
    between = max(1 / worth - 1 / NUM_PARTICLES, 0.0)
    shift = np.sqrt(between) * rng.normal(size=shape)
    return np.asarray(rng.normal(size=(num_chains, NUM_PARTICLES, dim)) + shift)


@pytest.mark.parametrize("num_chains", [4, 32])
def test_populations_that_agree_as_usual_give_no_remark(num_chains: int) -> None:
    """A tenth of the particles is what the least efficient sound ones are worth."""
    found = [disagreement(populations(NUM_PARTICLES / 10, num_chains, seed)) for seed in range(100)]
    # the limit has a probability of .01 at half that worth
    assert sum(text is not None for text in found) <= 1


@pytest.mark.parametrize(("num_chains", "least"), [(8, 40), (32, 50)])
def test_populations_that_differ_far_too_much_are_found(num_chains: int, least: int) -> None:
    """Planted: as many draws as populations were worth whose modes were in the tails."""
    worth = LEAST_WORTH * NUM_PARTICLES / 5
    found = [disagreement(populations(worth, num_chains, seed)) for seed in range(50)]
    assert sum(text is not None for text in found) >= least
    some = next(text for text in found if text)
    assert some.startswith("the chains' populations differ so much that 400 particles are worth")
    assert "wider reference=" in some


def test_what_cannot_be_compared_gives_no_remark() -> None:
    few = populations(1.0, 3, 0)
    assert most_worth(few) == np.inf
    lost = populations(1.0, 6, 0)
    lost[:3] = np.nan
    assert most_worth(lost) == np.inf
    assert most_worth(np.zeros((8, 50, 2))) == np.inf
    assert disagreement(populations(1.0, 8, 0)) is not None


def test_a_coordinate_that_does_not_vary_is_left_out() -> None:
    x = populations(1.0, 16, 0, dim=2)
    x[..., 1] = 3.0
    assert most_worth(x) < LEAST_WORTH * NUM_PARTICLES


@pytest.mark.usefixtures("unchecked")
def test_the_kernel_says_so() -> None:
    """Of a state only the populations are read."""
    kernel = TemperedSMC(lambda: None, num_particles=NUM_PARTICLES)

    def state(worth: float) -> Any:
        return SimpleNamespace(kernel_state=SimpleNamespace(particles=populations(worth, 16, 0)))

    assert kernel.remark(state(NUM_PARTICLES / 2)) is None
    assert "worth at most" in str(kernel.remark(state(3.0)))
