"""The product that is adapted: very many modes, and what it leaves to others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.learned.adapting import SUFFICIENT
from numpyro_score.learned.adapting_product import adapt_product, independent_units
from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.explore_regions import Found
from numpyro_score.learned.regions import find_regions
from numpyro_score.learned.rounds import Learned
from numpyro_score.learned.weighted import suffices

WELLS, NUM = 8, 1024
DIM = WELLS + 2
ROOT = np.array([[1.0, 0.0], [1.8, 0.6]])
INVERSE = np.linalg.inv(ROOT)
AWAY = 6.0


def many_modes(x: Any) -> Any:
    """256 modes, the right-hand one of each pair of weight .8, beside correlated Gaussians."""
    ends = jnp.log(0.2) - (x[:WELLS] + AWAY) ** 2 / 2, jnp.log(0.8) - (x[:WELLS] - AWAY) ** 2 / 2
    rest = jnp.asarray(INVERSE) @ x[WELLS:]
    return jnp.sum(jnp.logaddexp(*ends)) - jnp.sum(rest**2) / 2


def on_a_diagonal(x: Any) -> Any:
    """Two modes of all coordinates together, where a product has 1,024."""
    away = jnp.sum((x - AWAY) ** 2) / 2, jnp.sum((x + AWAY) ** 2) / 2
    return jnp.logaddexp(-away[0], -away[1])


def learn(logdensity_fn: Any, x: np.ndarray) -> Learned:
    particles = jnp.asarray(x, jnp.float32)
    logdensity, gradients = (np.asarray(a) for a in evaluate(logdensity_fn, particles))
    regions = find_regions(np.asarray(particles), logdensity, gradients)
    none: Any = None
    modes = Found(np.asarray(particles), logdensity, regions, none, none, 0, 0)
    return adapt_product(logdensity_fn, modes, particles, jax.random.key(0), NUM)


def draws(share: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM, DIM))
    x[:, :WELLS] += AWAY * np.where(rng.uniform(size=(NUM, WELLS)) < share, 1, -1)
    x[:, WELLS:] = x[:, WELLS:] @ ROOT.T
    return x


@pytest.fixture(scope="module")
def learned() -> Learned:
    """From particles that give both modes of each pair the same weight, for .8 and .2."""
    return learn(many_modes, draws(0.5))


def test_every_one_of_many_modes_gets_its_weight(learned: Learned) -> None:
    assert suffices(learned, 0.7)
    assert learned.proposal.learned.kind == "product"
    found = learned.quality
    # log of the integral: of each coordinate sqrt(2 pi), and the determinant
    log_z = DIM / 2 * np.log(2 * np.pi) + np.log(np.diagonal(ROOT)).sum()
    assert abs(found.log_evidence - log_z) < 4 * found.log_evidence_error
    right = (np.asarray(learned.particles)[:, :WELLS] > 0).mean(axis=0)
    assert (abs(right - 0.8) < 4 * np.sqrt(0.8 * 0.2 / NUM / found.ess_fraction)).all()


def test_every_evaluation_is_counted(learned: Learned) -> None:
    assert learned.num_grad == NUM * (1 + 4 * len(learned.rounds))


def test_modes_of_all_coordinates_together_are_left_to_others() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM, DIM)) + AWAY * np.where(rng.uniform(size=(NUM, 1)) < 0.5, 1, -1)
    assert not suffices(learn(on_a_diagonal, x), SUFFICIENT)


def test_units_take_up_correlation_and_no_noise() -> None:
    x = draws(0.5)
    _, gradients = evaluate(many_modes, jnp.asarray(x, jnp.float32))
    factor = independent_units(x, np.asarray(gradients, float)).factor
    np.testing.assert_allclose(factor[WELLS:, WELLS:], ROOT, atol=0.2)
    assert not (factor - np.diag(np.diagonal(factor)))[:WELLS].any()
    assert not factor[WELLS:, :WELLS].any()


def test_points_on_their_way_make_no_correlation() -> None:
    """Few gradients, fifty times as large as the others, of which all correlations would be."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM, DIM))
    gradients = -x.copy()
    gradients[:10] *= 50.0
    factor = independent_units(x, gradients).factor
    assert not (factor - np.diag(np.diagonal(factor))).any()


def test_nearly_dependent_coordinates_keep_all_correlations() -> None:
    """Those that are left when small ones are dropped may belong to no covariance."""
    dim = 12
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(0.99 * np.ones((dim, dim)) + 0.01 * np.eye(dim))
    x = rng.normal(size=(NUM, dim)) @ root.T
    units = independent_units(x, -np.linalg.solve(root @ root.T, x.T).T)
    spread = np.cov(units.whiten(x), rowvar=False)
    np.testing.assert_allclose(np.diagonal(spread), 1.0, atol=0.25)
