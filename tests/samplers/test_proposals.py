"""Proposals of a score: their densities are those of their draws, whatever the score."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.kernels import global_local, independence
from numpyro_score.kernels.gaussian_mixture import gaussian_mixture
from numpyro_score.noise import VE, VP
from numpyro_score.samplers.proposals import (
    LearnedProposal,
    flow_proposal,
    mixture_proposal,
    path_proposal,
    product_proposal,
    round_trip,
)
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.samplers.proposals.path import DenoisingPath
from numpyro_score.scores import GaussianMixtureScore

NOISE = VE(sigma_min=0.01, sigma_max=10.0)
MEANS, SDS, WEIGHTS = np.array([-2.0, 1.5]), np.array([0.5, 0.8]), np.array([0.3, 0.7])
NUM = 20_000
SIGMAS = 4.0


class Scaled(eqx.Module):
    """A score times a number: wrong unless that is 1."""

    score: Any
    factor: float

    def __call__(self, x: Any, t: Any) -> Any:
        return self.factor * self.score(x, t)


def mixture_score(noise: Any = NOISE) -> Any:
    return GaussianMixtureScore(WEIGHTS, MEANS[:, None], SDS**2, noise)


def exact_draws(num: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    which = rng.choice(2, num, p=WEIGHTS)
    return (MEANS[which] + SDS[which] * rng.normal(size=num))[:, None]


def log_density(x: Any) -> Any:
    """Unnormalized, of integral 5."""
    terms = jnp.log(WEIGHTS) - jnp.log(SDS) - 0.5 * ((x[0] - MEANS) / SDS) ** 2
    return jax.nn.logsumexp(terms) - 0.5 * jnp.log(2 * jnp.pi) + jnp.log(5.0)


MAKERS = {
    "flow": partial(flow_proposal, num_steps=10),
    "path": partial(path_proposal, num_steps=30),
}


KINDS = [*MAKERS, "mixture", "product"]


def make(kind: str, factor: float, weight: float = 0.02, noise: Any = NOISE) -> LearnedProposal:
    data = exact_draws(2000)
    if kind == "mixture":
        # in units of 2 about 1, wider where the factor is not 1
        factors = (SDS / 2 / factor)[:, None, None]
        mixture = gaussian_mixture(WEIGHTS, (MEANS[:, None] - 1) / 2, factors)
        return mixture_proposal(
            mixture, data=(data - 1) / 2, center=1.0, factor=[2.0], weight=weight
        )
    if kind == "product":
        columns = (a[:, None] for a in (WEIGHTS, (MEANS - 1) / 2, SDS / 2 / factor))
        return product_proposal(
            *columns, data=(data - 1) / 2, center=1.0, factor=[2.0], weight=weight
        )
    score = Scaled(mixture_score(noise), factor)
    return MAKERS[kind](score, noise, 1, data=data, weight=weight)


@eqx.filter_jit
def drawn(proposal: LearnedProposal, rng_key: Any, num: int = NUM) -> Any:
    return jax.vmap(proposal.sample_and_log_prob)(jax.random.split(rng_key, num))


@eqx.filter_jit
def density(proposal: LearnedProposal, rng_key: Any, x: Any, num: int) -> Any:
    """Mean of the density at each point, over what auxiliary variables there are."""
    keys = jax.random.split(rng_key, (len(x), num))
    of_point = jax.vmap(proposal.log_prob, (0, None))
    return jnp.exp(jax.vmap(of_point)(keys, x)).mean(axis=1)


@pytest.mark.parametrize("factor", [1.0, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_average_to_the_evidence(kind: str, factor: float) -> None:
    x, log_q = drawn(make(kind, factor), jax.random.key(1))
    weights = np.exp(np.asarray(jax.vmap(log_density)(x) - log_q, np.float64))
    error = weights.std() / np.sqrt(NUM)
    assert abs(weights.mean() - 5.0) < SIGMAS * error
    assert error < 0.05


@pytest.mark.parametrize("factor", [1.0, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_the_density_is_that_of_the_draws(kind: str, factor: float) -> None:
    proposal = make(kind, factor)
    edges = np.linspace(-5.0, 5.0, 21)
    counts = np.histogram(np.asarray(drawn(proposal, jax.random.key(2))[0]), edges)[0]
    fine = np.linspace(-5.0, 5.0, 401)
    values = np.asarray(density(proposal, jax.random.key(3), fine[:, None].astype(np.float32), 200))
    expected = np.array(
        [np.trapezoid(values[20 * i : 20 * i + 21], fine[20 * i : 20 * i + 21]) for i in range(20)]
    )
    error = np.sqrt(expected * (1 - expected) / NUM) + 0.01 * expected + 2e-4
    assert (abs(counts / NUM - expected) < SIGMAS * error).all()


def test_a_path_weighed_with_another_spread_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DenoisingPath._gain

    def wrong(learned: Any, lower: Any, upper: Any, mean: Any, row: Any) -> Any:
        return right(learned, lower, upper, mean, (*row[:3], 1.1 * row[3]))

    monkeypatch.setattr(DenoisingPath, "_gain", wrong)
    x, log_q = drawn(make("path", 0.7), jax.random.key(1), NUM - 1)
    weights = np.exp(np.asarray(jax.vmap(log_density)(x) - log_q, np.float64))
    assert abs(weights.mean() - 5.0) > SIGMAS * weights.std() / np.sqrt(NUM)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_a_good_score_is_accepted_under_every_noise_process(kind: str) -> None:
    noise = VP()
    proposal = make(kind, 1.0, noise=noise)
    x, log_q = drawn(proposal, jax.random.key(4))
    weights = np.exp(np.asarray(jax.vmap(log_density)(x) - log_q, np.float64))
    assert 1 / np.mean((weights / weights.mean()) ** 2) > 0.8


@pytest.mark.slow
def test_more_steps_make_a_better_path() -> None:
    def spread(num_steps: int) -> float:
        proposal = path_proposal(
            mixture_score(), NOISE, 1, num_steps=num_steps, data=exact_draws(2000)
        )
        x, log_q = drawn(proposal, jax.random.key(5), 4000)
        return float(np.var(np.asarray(jax.vmap(log_density)(x) - log_q)))

    # about inversely proportional to the number of steps
    assert spread(64) < 0.5 * spread(16)


@pytest.mark.parametrize("kind", [pytest.param("flow", marks=pytest.mark.slow), "path"])
def test_both_serve_the_blackjax_kernels(kind: str) -> None:
    proposal = make(kind, 1.0).as_independent()
    start = jnp.asarray(exact_draws(4000, seed=6), jnp.float32)
    exact = exact_draws(1_000_000, seed=7)
    for algorithm in (
        independence(log_density, proposal),
        global_local(log_density, 0.2, proposal=proposal, num_local=2),
    ):

        @jax.jit
        def run(start: Any, keys: Any, algorithm: Any = algorithm) -> Any:
            def one(x: Any, keys: Any) -> Any:
                step = lambda state, key: (algorithm.step(key, state)[0], None)  # noqa: E731
                return jax.lax.scan(step, algorithm.init(x), keys)[0].position

            return jax.vmap(one)(start, keys)

        end = np.asarray(run(start, jax.random.split(jax.random.key(8), (len(start), 3))))
        for statistic in (lambda x: x, lambda x: x**2, lambda x: x > 0):
            gap = statistic(end).mean() - statistic(exact).mean()
            assert abs(gap) < SIGMAS * statistic(exact).std() / np.sqrt(len(start))
        assert (np.sign(end) != np.sign(start)).mean() > 0.2


def test_points_of_another_size_are_refused() -> None:
    mixture = gaussian_mixture([1.0], [[0.0]], [[[1.0]]])
    with pytest.raises(ValueError, match=r"data has shape \(10, 3\)"):
        mixture_proposal(mixture, data=np.zeros((10, 3)))
    with pytest.raises(ValueError, match=r"data has shape \(0, 1\)"):
        mixture_proposal(mixture, data=np.zeros((0, 1)))


@pytest.mark.parametrize("data", [np.ones((10, 1)), np.array([[0.0], [np.nan]])])
def test_a_heavy_tailed_component_needs_a_scale(data: np.ndarray) -> None:
    mixture = gaussian_mixture([1.0], [[0.0]], [[[1.0]]])
    with pytest.raises(ValueError, match="finite points that differ"):
        mixture_proposal(mixture, data=data)
    assert mixture_proposal(mixture, data=data, weight=0.0).weight == 0


def test_a_product_of_other_shapes_is_refused() -> None:
    two, three = np.ones((1, 2)), np.ones((1, 3))
    with pytest.raises(ValueError, match=r"data has shape \(1, 3\)"):
        product_proposal(two, two, two, data=three)
    with pytest.raises(ValueError, match=r"shapes \(1, 2\), \(1, 3\) and \(1, 2\)"):
        product_proposal(two, three, two, data=two)
    with pytest.raises(ValueError, match="above 0"):
        product_proposal(two, two, 0 * two, data=two)
    with pytest.raises(ValueError, match="finite"):
        product_proposal(two, np.nan * two, two, data=two)


def test_a_flow_is_undone() -> None:
    learned = make("flow", 1.0).learned
    assert isinstance(learned, MonotoneFlow)
    found = round_trip(learned, jax.random.key(9), 500)
    assert found.lost == 0
    assert found.noise_error < 1e-3
    assert found.log_prob_gap < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_double_precision(kind: str) -> None:
    with jax.enable_x64(True):
        x, log_q = make(kind, 1.0).sample_and_log_prob(jax.random.key(0))
        assert x.dtype == log_q.dtype == np.float64


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.0}, "weight 1.0"),
        ({"df": 0}, "df"),
        ({"num_steps": 0}, "num_steps"),
        ({"least_noise": 100.0}, "least_noise is 100"),
        ({"factor": np.zeros(3)}, "factor has shape"),
        ({"data": np.zeros((10, 3))}, r"data has shape \(10, 3\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(lambda x, t: -x, NOISE, 1, **settings)
