"""`LearnedDistribution`: its density is that of its own map, in NumPyro's protocol."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density

from numpyro_score import MALA
from numpyro_score.distributions import LearnedConditional, LearnedDistribution
from numpyro_score.distributions.supports import Variable, decode, encode, joined, supports_of
from numpyro_score.distributions.training import train_flow
from numpyro_score.noise import VE
from numpyro_score.samplers.proposals import LearnedProposal, flow_proposal, path_proposal
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.scores import GaussianMixtureScore, gaussian_score

NOISE = VE(sigma_min=0.01, sigma_max=10.0)
KEY = jax.random.key(0)
MEAN = np.array([1.0, -2.0])
ROOT = np.array([[1.5, 0.0], [0.9, 0.4]])


def flow(weight: float = 0.0, dim: int = 2, num_steps: int = 16) -> LearnedProposal:
    """A map that is linear, so that its density is a Gaussian that is known."""
    score = gaussian_score(jnp.zeros(dim), jnp.ones(dim), NOISE)
    center, factor = np.resize(MEAN, dim), np.eye(dim)
    factor[:2, :2] = ROOT
    return flow_proposal(
        score, NOISE, dim, num_steps=num_steps, weight=weight, center=center, factor=factor
    )


def two_modes(weight: float = 0.0, num_steps: int = 16) -> LearnedProposal:
    score = GaussianMixtureScore(
        np.array([0.3, 0.7]), np.array([[-1.5, 0.0], [1.0, 0.5]]), np.array([0.3, 0.5]), NOISE
    )
    return flow_proposal(
        score, NOISE, 2, num_steps=num_steps, weight=weight, data_mean=[0.25, 0.35], data_sd=1.2
    )


def gain(proposal: LearnedProposal) -> float:
    """Sd of the map of a standard normal score, in whitened coordinates; in closed form."""
    learned: Any = proposal.learned
    tau = np.asarray(NOISE.ratio(learned.times), np.float64)
    r = np.asarray(learned.ratios, np.float64)
    return float(learned.start_sd[0]) * float(np.prod(r + (1 - r) / (1 + tau**2)))


def gap(proposal: LearnedProposal) -> float:
    """Largest error of the log density of draws, beside the one in closed form."""
    learned, dim = LearnedDistribution(proposal), proposal.dim
    x = learned.sample(KEY, (200,))
    root = np.asarray(proposal.factor, np.float64) * gain(proposal)
    z = np.linalg.solve(root, (np.asarray(x, np.float64) - np.resize(MEAN, dim)).T)
    assert np.abs(z.mean(axis=1)).max() < 5 / np.sqrt(200)
    log_det = np.log(np.diagonal(root)).sum()
    expected = -0.5 * (z**2).sum(axis=0) - log_det - dim / 2 * np.log(2 * np.pi)
    return float(np.abs(np.asarray(learned.log_prob(x)) - expected).max())


@pytest.mark.parametrize("dim", [2, 5])
def test_the_density_is_that_of_the_map_in_single_precision(dim: int) -> None:
    assert gap(flow(dim=dim)) < 1e-3


@pytest.mark.parametrize("sd", [1e-3, 1e3])
def test_rare_draws_from_far_out_are_in_units_of_the_data(sd: float) -> None:
    # of unit scale whatever the data, they gave draws of sd .001 an sd of .18
    points = sd * np.random.default_rng(0).normal(size=(500, 2))
    learned = train_flow(points, None, KEY, num_steps=1, num_flow_steps=2, width=8, progress=False)
    assert isinstance(learned, LearnedProposal)
    drafts = jax.vmap(learned.draft)(jax.random.split(KEY, 4000))
    is_heavy = np.asarray(drafts.is_heavy)
    x = np.asarray(jax.vmap(learned.unwhiten)(drafts.u))[is_heavy]
    # three quarters of the draws of a Student t of 5 degrees of freedom are within 1.301 of 0
    within = (np.abs(x / sd) < 1.301).mean()
    assert abs(within - 0.75) < 4 * np.sqrt(0.75 * 0.25 / x.size)
    assert is_heavy.sum() > 40


def test_a_density_that_lacks_a_little_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = MonotoneFlow.encode

    def wrong(self: Any, x: Any) -> Any:
        found = right(self, x)
        return found._replace(log_prob=found.log_prob + 0.01)

    monkeypatch.setattr(MonotoneFlow, "encode", wrong)
    # a number of steps that nothing was compiled for
    assert gap(flow(num_steps=13)) > 5e-3


def test_the_density_of_a_curved_map_agrees_with_double_precision() -> None:
    x = np.asarray(LearnedDistribution(two_modes()).sample(KEY, (200,)))
    found = np.asarray(LearnedDistribution(two_modes()).log_prob(x))
    with jax.enable_x64(True):
        exact = np.asarray(LearnedDistribution(two_modes()).log_prob(x.astype(np.float64)))
    assert np.abs(found - exact).max() < 1e-3


@pytest.mark.parametrize("weight", [0.0, 0.05])
def test_it_is_normalised(weight: float) -> None:
    learned = LearnedDistribution(two_modes(weight))
    wide = dist.MultivariateStudentT(3.0, jnp.zeros(2), 2.0 * jnp.eye(2))
    x = wide.sample(jax.random.key(1), (20_000,))
    weights = np.exp(np.asarray(learned.log_prob(x) - wide.log_prob(x), np.float64))
    assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(weights))
    assert weights.std() / np.sqrt(len(weights)) < 0.015


def test_gradients_are_those_of_finite_differences(x64: None) -> None:
    learned = LearnedDistribution(two_modes(0.02, num_steps=8), constraints.positive)
    value, step = jnp.array([0.7, 1.9]), 1e-5
    gradient = jax.grad(learned.log_prob)(value)
    for i, direction in enumerate(np.eye(2)):
        ends = learned.log_prob(jnp.stack([value + step * direction, value - step * direction]))
        assert abs(gradient[i] - (ends[0] - ends[1]) / (2 * step)) < 1e-6


def test_gradients_are_finite_where_the_inverse_fails() -> None:
    """Far away only the Student t part is left, and its gradient leads back."""
    learned = LearnedDistribution(two_modes(0.02))
    far = jnp.array([[1e4, 0.0], [0.0, -1e6]])
    values, gradients = jax.vmap(jax.value_and_grad(learned.log_prob))(far)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    assert gradients[0, 0] < 0 < gradients[1, 1]


def model(prior: Any, y: Any = None) -> None:
    theta = numpyro.sample("theta", prior)
    numpyro.sample("y", dist.Normal(theta, 1.0).to_event(1), obs=y)


Y = np.array([0.5, 0.5])


@pytest.mark.parametrize("kernel", [MALA, pytest.param(NUTS, marks=pytest.mark.slow)])
def test_kernels_sample_the_posterior(kernel: Any) -> None:
    prior = LearnedDistribution(flow(num_steps=6))
    mcmc = MCMC(
        kernel(partial(model, prior)),
        num_warmup=200,
        num_samples=300,
        num_chains=10,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(KEY, Y)
    covariance = gain(flow(num_steps=6)) ** 2 * ROOT @ ROOT.T
    weight = covariance @ np.linalg.inv(covariance + np.eye(2))
    mean, spread = MEAN + weight @ (Y - MEAN), covariance - weight @ covariance
    draws = np.asarray(mcmc.get_samples(group_by_chain=True)["theta"])
    ess = [float(numpyro.diagnostics.effective_sample_size(draws[..., i])) for i in range(2)]
    error = np.sqrt(np.diag(spread) / np.array(ess))
    assert (np.abs(draws.mean(axis=(0, 1)) - mean) < 4 * error).all()
    ratio = draws.var(axis=(0, 1)) / np.diag(spread)
    assert (np.abs(ratio - 1) < 5 * np.sqrt(2 / np.array(ess))).all()


def test_numpyros_protocol() -> None:
    learned = LearnedDistribution(two_modes(0.02, num_steps=4))
    assert (learned.batch_shape, learned.event_shape) == ((), (2,))
    x = learned.sample(KEY, (3, 4))
    assert x.shape == (3, 4, 2)
    assert learned.log_prob(x).shape == (3, 4)
    one = jax.vmap(jax.vmap(learned.log_prob))(x)
    np.testing.assert_allclose(one, learned.log_prob(x), atol=1e-4)
    wide = learned.expand([5])
    assert wide.sample(KEY).shape == (5, 2)
    assert wide.log_prob(x[0, 0]).shape == (5,)
    assert wide.to_event(1).log_prob(jnp.zeros((7, 5, 2))).shape == (7,)
    assert not learned.mask(False).log_prob(x).any()
    leaves, tree = jax.tree.flatten(learned)
    rebuilt = jax.tree.unflatten(tree, leaves)
    for other in (rebuilt, pickle.loads(pickle.dumps(learned))):
        np.testing.assert_array_equal(other.log_prob(x), learned.log_prob(x))
    inside = jax.jit(lambda d, x: d.log_prob(x))(learned, x)
    np.testing.assert_allclose(inside, learned.log_prob(x), atol=1e-4)


def test_in_plates_with_supports() -> None:
    learned = LearnedDistribution(two_modes(0.02, num_steps=4), constraints.positive)

    def rows(y: Any = None) -> None:
        with numpyro.plate("n", 3):
            theta = numpyro.sample("theta", learned)
        numpyro.sample("y", dist.Normal(theta.sum(), 1.0), obs=y)

    theta = learned.sample(KEY, (3,))
    found, sites = log_density(rows, (1.0,), {}, {"theta": theta})
    expected = learned.log_prob(theta).sum() + dist.Normal(theta.sum(), 1.0).log_prob(1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert sites["theta"]["fn"].batch_shape == (3,)


def test_densities_change_with_the_variable() -> None:
    """Of positive numbers, the density is that of their logarithms over the numbers."""
    inner = LearnedDistribution(two_modes(0.02))
    outer = LearnedDistribution(two_modes(0.02), constraints.positive)
    value = jnp.array([[0.7, 1.9], [3.0, 0.1]])
    expected = inner.log_prob(jnp.log(value)) - jnp.log(value).sum(axis=1)
    np.testing.assert_allclose(outer.log_prob(value), expected, atol=1e-4)
    with pytest.warns(UserWarning, match="Out-of-support"):
        assert outer.log_prob(-value)[0] == -jnp.inf


def earlier(num: int = 2000) -> Any:
    rng = np.random.default_rng(0)
    return {
        "sd": rng.gamma(4.0, size=num),
        "rates": rng.uniform(0.0, 2.0, size=(num, 2)),
    }


SUPPORT = {"sd": constraints.positive, "rates": constraints.interval(0.0, 2.0)}


def test_learned_from_variables_saved_and_loaded(tmp_path: Path) -> None:
    learned = LearnedDistribution.fit(
        earlier(), rng_key=KEY, support=SUPPORT, num_steps=300, num_flow_steps=8, progress=False
    )
    x = learned.sample(jax.random.key(1), (2000,))
    parts = learned.split(x)
    assert parts["sd"].shape == (2000,)
    assert parts["rates"].shape == (2000, 2)
    assert (parts["sd"] > 0).all()
    assert ((parts["rates"] > 0) & (parts["rates"] < 2)).all()
    # a rough likeness: what matters of a fit is tested where scores are
    assert abs(float(parts["sd"].mean()) - 4) < 0.5
    path = learned.save(tmp_path / "prior.score")
    loaded = LearnedDistribution.load(path)
    np.testing.assert_array_equal(loaded.log_prob(x[:5]), learned.log_prob(x[:5]))
    assert loaded.variables == learned.variables
    assert loaded.coverage(x).is_covered
    with pytest.warns(UserWarning, match="lies outside of the region"):
        found = loaded.coverage(np.concatenate([x, x + np.array([40.0, 0.0, 0.0])]))
    assert 0.4 < found.outside < 0.6
    with pytest.raises(ValueError, match="holds a LearnedDistribution"):
        LearnedConditional.load(path)


def test_supports_are_read_off_a_fitted_model() -> None:
    def sites() -> None:
        numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
        numpyro.sample("share", dist.Beta(2.0, 2.0))

    names = [Variable("sd", (2,)), Variable("share", ())]
    support = joined(
        names, supports_of(MCMC(NUTS(sites), num_warmup=1, num_samples=1), ["sd", "share"])
    )
    value = jnp.array([3.0, 2.0, 0.5])
    assert bool(support(value))
    assert not bool(support(value.at[2].set(1.5)))
    assert not bool(support(-value))


def test_supports_are_written_and_read() -> None:
    rows = [Variable("a", ()), Variable("b", (2,)), Variable("c", (2, 2))]
    bounds = constraints.interval(np.zeros(2), np.array([1.0, 2.0]))
    support = joined(rows, {"a": constraints.positive, "b": bounds})
    again = decode(encode(support))
    value = jnp.array([0.5, 0.5, 1.5, -1.0, 0.0, 1.0, 2.0])
    assert bool(again(value))
    assert not bool(again(value.at[1].set(1.5)))
    assert decode(encode(constraints.simplex)) is constraints.simplex


@pytest.mark.parametrize(
    ("data", "support", "message"),
    [
        (-np.ones((100, 2)), constraints.positive, "100 of 100 draws are outside"),
        (np.ones((100, 2)), constraints.integer_interval(0, 3), "discrete"),
        ({"a": np.ones(9), "b": np.ones(9)}, constraints.positive, "as a dict of constraints"),
        ({"a": np.ones(9), "b": np.ones(9)}, {"c": constraints.real}, "no variables of the draws"),
        (
            {"a": np.ones((9, 3)), "b": np.ones(9)},
            {"a": constraints.simplex},
            "learn its distribution",
        ),
        (np.ones((9, 2)), {"a": constraints.real}, "without names"),
        ((np.ones((9, 2)), np.ones((9, 1))), None, "LearnedConditional"),
    ],
)
def test_bad_draws_are_refused(data: Any, support: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        LearnedDistribution.fit(data, rng_key=KEY, support=support, progress=False)


def test_single_precision_that_cannot_hold_the_draws_is_refused() -> None:
    draws = np.random.default_rng(0).normal(2458000.123, 5e-4, size=(1000, 1))
    with pytest.raises(ValueError, match="too narrow for their location"):
        LearnedDistribution.fit(draws, rng_key=KEY, progress=False)


def test_a_constant_coordinate_is_named() -> None:
    draws = np.random.default_rng(0).normal(size=(1000, 3))
    draws[:, 1] = 2.0
    with pytest.raises(ValueError, match=r"1 of 3 coordinates are constant .* number 1\)"):
        LearnedDistribution.fit(draws, rng_key=KEY, progress=False)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_a_scale_beyond_single_precision_is_refused(scale: float) -> None:
    draws = scale * np.random.default_rng(0).normal(size=(1000, 2))
    with pytest.raises(ValueError, match="but its square has to be well within float32"):
        LearnedDistribution.fit(draws, rng_key=KEY, progress=False)


def test_other_flows_are_refused() -> None:
    score = gaussian_score(jnp.zeros(2), jnp.ones(2), NOISE)
    with pytest.raises(TypeError, match="proposal of flow_proposal"):
        LearnedDistribution(path_proposal(score, NOISE, 2))
    with pytest.raises(ValueError, match="unconstrained coordinates"):
        LearnedDistribution(flow(), constraints.simplex)
    assert LearnedDistribution(flow(), constraints.simplex, (3,)).sample(KEY).shape == (3,)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match=r"unknown options \['steps'\]; there are \['checkpoint'"):
        LearnedDistribution.fit(np.zeros((9, 2)), rng_key=jax.random.key(0), steps=3)  # type: ignore[call-arg]
