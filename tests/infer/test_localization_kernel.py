"""Posteriors by localization through NumPyro: independent, constrained, marked approximate."""

from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC

import numpyro_score as ns
from numpyro_score.diagnostics import ConvergenceWarning
from numpyro_score.infer.localization import FIRST, LAST, _misfit


def model(y: float) -> None:
    """A Gaussian with a constrained scale that the data hardly know, and a derived site."""
    x = numpyro.sample("x", dist.Normal(0.0, 2.0))
    numpyro.sample("s", dist.LogNormal(0.0, 0.5))
    numpyro.deterministic("twice", 2 * x)
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)


@pytest.fixture(scope="module")
def kernel() -> ns.StochasticLocalization:
    return ns.StochasticLocalization(model, num_times=24, num_inner_chains=32, local_sd=0.5)


@pytest.fixture(scope="module")
def tree(kernel: ns.StochasticLocalization) -> Any:
    return ns.sample(
        kernel, jax.random.key(0), num_warmup=0, num_samples=200, num_chains=4, model_args=(1.0,),
        progress=False,
    )  # fmt: skip


def test_draws_are_of_the_posterior(tree: Any) -> None:
    x = tree.posterior["x"].values
    # x given y = 1 is N(.8, .8); 32 inner chains and 24 times leave a bias below .1
    assert abs(x.mean() - 0.8) < 4.5 * np.sqrt(0.8 / x.size) + 0.1
    assert abs(x.std() / np.sqrt(0.8) - 1) < 4.5 / np.sqrt(2 * x.size) + 0.1
    log_s = np.log(tree.posterior["s"].values)
    assert abs(log_s.std() / 0.5 - 1) < 4.5 / np.sqrt(2 * x.size) + 0.1
    np.testing.assert_allclose(tree.posterior["twice"], 2 * x, rtol=1e-6)


def test_draws_are_independent_and_marked(tree: Any, kernel: Any) -> None:
    x = tree.posterior["x"].values
    lag = np.mean((x[:, 1:] - x.mean()) * (x[:, :-1] - x.mean())) / x.var()
    assert abs(lag) < 4.5 / np.sqrt(x.size)
    assert tree.attrs["exact"] == 0
    assert kernel.exact is False


TIMES = [0.0, FIRST / 2.0**2, LAST / 0.5**2]


@pytest.mark.parametrize(
    ("num_chains", "sd", "said"),
    [
        (64, 0.5, None),
        (64, 2.0, None),
        (64, 0.05, "smaller local_sd"),
        (64, 30.0, "larger scale"),
        # four draws know an sd to a factor of 20 only
        (4, 0.5, None),
        (4, 2.0, None),
        (4, 1e-3, "smaller local_sd"),
        (4, 300.0, "larger scale"),
    ],
)
def test_sds_that_the_times_do_not_suit_are_found(num_chains: int, sd: float, said: Any) -> None:
    rng = np.random.default_rng(0)
    shape = (num_chains, 10)
    texts = [_misfit(TIMES, sd * rng.normal(size=shape)) for _ in range(50)]
    if said is None:
        assert texts == [None] * 50
    else:
        assert all(text is not None and said in text for text in texts)


@pytest.mark.parametrize(
    ("scale", "said"), [(300.0, "a smaller local_sd"), (0.01, "a larger scale")]
)
def test_a_run_of_another_scale_warns(scale: float, said: str) -> None:
    unsuited = ns.StochasticLocalization(model, num_times=8, num_inner_chains=8, scale=scale)
    with pytest.warns(ConvergenceWarning, match=f"StochasticLocalization: .* {said}"):
        ns.sample(
            unsuited, jax.random.key(0), num_warmup=0, num_samples=2, num_chains=16,
            model_args=(1.0,), progress=False,
        )  # fmt: skip


@pytest.mark.parametrize("method", ["sequential", "vectorized"])
def test_under_mcmc(kernel: Any, method: str) -> None:
    mcmc = MCMC(
        kernel, num_warmup=1, num_samples=3, num_chains=2, chain_method=method, progress_bar=False
    )
    mcmc.run(jax.random.key(0), 1.0)
    samples = mcmc.get_samples()
    assert samples["s"].shape == (6,)
    assert (samples["s"] > 0).all()
    assert len(jnp.unique(samples["x"])) == 6
    assert "x" in az.from_numpyro(mcmc).posterior


def test_bad_input(unchecked: None) -> None:
    for options, match in (
        ({"scale": 1.0, "local_sd": 2.0}, "0 < local_sd <= scale"),
        ({"num_inner_chains": 0}, "num_inner_chains is 0"),
        ({"times": [1.0, 0.5]}, "have to be finite and to rise"),
    ):
        with pytest.raises(ValueError, match=match):
            ns.StochasticLocalization(model, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a NumPyro model"):
        ns.StochasticLocalization(None)  # type: ignore[arg-type]
