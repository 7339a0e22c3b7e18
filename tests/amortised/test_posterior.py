"""Amortised posteriors: near the posterior when trained, and exact as a kernel even when poor."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC

from numpyro_score.amortised import AmortisedPosterior, fit_posterior

KEY = jax.random.key(0)
NUM = 3
EMPTY = jnp.zeros(NUM)


def model(y: Any) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    sd = numpyro.sample("sd", dist.LogNormal(0.0, 0.5))
    numpyro.sample("y", dist.Normal(mean, sd).expand([NUM]).to_event(1), obs=y)


def exact(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means and sds of `mean` and `log sd`, by quadrature."""
    mean, log_sd = np.meshgrid(np.linspace(-8, 8, 801), np.linspace(-3, 3, 601), indexing="ij")
    log_p = -0.5 * (mean / 2) ** 2 - 0.5 * (log_sd / 0.5) ** 2
    for value in np.asarray(y):
        log_p = log_p - 0.5 * ((value - mean) / np.exp(log_sd)) ** 2 - log_sd
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    points = np.stack([mean, log_sd])
    first = (p * points).sum(axis=(1, 2))
    return first, np.sqrt((p * points**2).sum(axis=(1, 2)) - first**2)


def fitted(num_steps: int, **settings: Any) -> AmortisedPosterior:
    options: dict[str, Any] = {
        "model_args": (EMPTY,),
        "num_simulations": 4000,
        "num_flow_steps": 8,
        "width": 32,
        "depth": 2,
        "progress": False,
        **settings,
    }
    return fit_posterior(model, KEY, num_steps=num_steps, **options)


@pytest.fixture(scope="module")
def poor() -> AmortisedPosterior:
    """Hardly trained: a regression line, and about the spread of the prior."""
    return fitted(50)


@pytest.mark.parametrize(
    "data", [[1.0, 2.0, 0.5], pytest.param([-3.0, 1.0, -2.5], marks=pytest.mark.slow)]
)
def test_the_kernel_is_exact_for_any_data(poor: AmortisedPosterior, data: list[float]) -> None:
    y = jnp.array(data)
    kernel = poor.as_kernel(model)
    assert kernel.exact
    mcmc = MCMC(
        kernel,
        num_warmup=100,
        num_samples=300,
        num_chains=20,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(KEY, y, extra_fields=("global_accept_prob",))
    found = mcmc.get_samples(group_by_chain=True)
    draws = np.stack([found["mean"], np.log(found["sd"])], axis=-1)
    mean, sd = exact(data)
    for k in range(2):
        ess = float(numpyro.diagnostics.effective_sample_size(draws[..., k]))
        assert abs(draws[..., k].mean() - mean[k]) < 4 * sd[k] / np.sqrt(ess)
        assert abs(draws[..., k].std() / sd[k] - 1) < 4 / np.sqrt(ess)
    # jumps happen, whatever they are worth
    assert float(mcmc.get_extra_fields()["global_accept_prob"].mean()) > 0.02


@pytest.mark.slow
def test_its_density_is_normalised_and_that_of_its_draws(poor: AmortisedPosterior) -> None:
    y = jnp.array([0.5, 0.0, 1.0])
    wide = {"mean": dist.StudentT(3.0, 0.0, 2.0), "sd": dist.LogNormal(0.0, 1.0)}
    values = {
        name: d.sample(jax.random.key(i), (4000,)) for i, (name, d) in enumerate(wide.items())
    }
    log_q = sum(d.log_prob(values[name]) for name, d in wide.items())
    log_p = jax.jit(jax.vmap(lambda values: poor.log_prob(values, y)))(values)
    weights = np.exp(np.asarray(log_p - log_q, np.float64))
    assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(weights))


@pytest.mark.slow
def test_a_trained_one_is_near_the_posterior() -> None:
    posterior = fitted(4000, num_simulations=20_000, num_flow_steps=24, width=64, depth=3)
    for data in ([1.0, 2.0, 0.5], [-2.0, -1.0, 0.0]):
        found = posterior.sample(KEY, jnp.array(data), 4000)
        draws = np.stack([found["mean"], np.log(found["sd"])], axis=-1)
        mean, sd = exact(data)
        assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 0.15
        assert np.abs(draws.std(axis=0) / sd - 1).max() < 0.15


def test_saved_and_loaded(poor: AmortisedPosterior, tmp_path: Path) -> None:
    loaded = AmortisedPosterior.load(poor.save(tmp_path / "posterior.score"))
    y = jnp.array([0.5, 0.0, 1.0])
    np.testing.assert_array_equal(
        loaded.sample(KEY, y, 10)["sd"], poor.sample(KEY, {"y": y}, 10)["sd"]
    )
    with pytest.raises(ValueError, match="without one"):
        AmortisedPosterior.load(tmp_path / "posterior.score", summary=dict)


def test_bad_data_are_told(poor: AmortisedPosterior) -> None:
    with pytest.warns(UserWarning, match="lie outside of all simulations"):
        poor.sample(KEY, jnp.full(NUM, 1e4), 5)
    with pytest.raises(ValueError, match="condition of 2 numbers, but 3 were simulated"):
        poor.sample(KEY, jnp.zeros(2), 5)
    with pytest.raises(ValueError, match="not finite"):
        poor.sample(KEY, jnp.array([0.0, jnp.nan, 0.0]), 5)
    with pytest.raises(ValueError, match="the data lack y"):
        poor.sample(KEY, {"z": jnp.zeros(3)}, 5)

    def other(y: Any) -> None:
        theta = numpyro.sample("theta", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(theta, 1.0).expand([NUM]).to_event(1), obs=y)

    with pytest.raises(ValueError, match="the same sites"):
        MCMC(poor.as_kernel(other), num_warmup=1, num_samples=1).run(KEY, EMPTY)


def unreliable(rng_key: Any, parameters: Any) -> Any:
    rate = float(parameters["rate"])
    rng = np.random.default_rng(np.asarray(jax.random.key_data(rng_key)))
    return np.array([np.nan]) if rate > 2.0 else rng.poisson(rate, size=1).astype(float)


def test_any_function_is_simulated_and_its_faults_are_told() -> None:
    short: dict[str, Any] = {"num_simulations": 200, "num_steps": 5, "progress": False}
    prior = {"rate": dist.Gamma(4.0, 4.0)}
    with pytest.warns(UserWarning, match=r"of 200 simulations returned values that are not finite"):
        posterior = fit_posterior(unreliable, KEY, prior=prior, **short)
    assert posterior.sample(KEY, jnp.ones(1), 5)["rate"].shape == (5,)
    with pytest.raises(ValueError, match=r"the first for the parameters \{'rate': "):
        fit_posterior(unreliable, KEY, prior={"rate": dist.Gamma(4.0, 1.0)}, **short)

    def ragged(rng_key: Any, parameters: Any) -> Any:
        return np.zeros(1 + int(parameters["rate"] > 1.0))

    with pytest.raises(ValueError, match="return data of one shape"):
        fit_posterior(ragged, KEY, prior=prior, **short)


def test_priors_that_cannot_be_learned_are_refused() -> None:
    def discrete(y: Any) -> None:
        k = numpyro.sample("k", dist.Poisson(3.0))
        numpyro.sample("y", dist.Normal(k, 1.0), obs=y)

    def improper(y: Any) -> None:
        x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)

    def dependent(y: Any) -> None:
        a = numpyro.sample("a", dist.Uniform(0.0, 1.0))
        numpyro.sample("b", dist.Uniform(0.0, a))
        numpyro.sample("y", dist.Normal(a, 1.0), obs=y)

    for bad, message in ((discrete, "discrete"), (improper, "improper"), (dependent, "depends on")):
        with pytest.raises(ValueError, match=message):
            fit_posterior(bad, KEY, model_args=(0.0,), progress=False)
