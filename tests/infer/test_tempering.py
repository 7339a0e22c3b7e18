"""Parallel tempering and tempered SMC in NumPyro's protocol: what a user meets."""

import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC

import numpyro_score as ns
from numpyro_score.infer import GlobalLocal, ParallelTempering, TemperedSMC
from numpyro_score.kernels.tempered_smc import count_grad

SIGMAS = 4.0


def model(y: Any) -> None:
    """Both signs of x explain the datum; the prior prefers the right one."""
    x = numpyro.sample("x", dist.Normal(0.5, 1.5))
    numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(x**2, 0.5), obs=y)


def share_right() -> float:
    x = np.linspace(-6, 6, 4001)
    weight = np.exp(-0.5 * ((x - 0.5) / 1.5) ** 2 - 0.5 * ((x**2 - 4.0) / 0.5) ** 2)
    return float(weight[x > 0].sum() / weight.sum())


KERNELS: dict[str, Callable[..., Any]] = {
    "parallel tempering": ParallelTempering,
    "tempered SMC": lambda model, **options: TemperedSMC(model, num_particles=100, **options),
}
every_kernel = pytest.mark.parametrize("name", KERNELS)


@pytest.fixture(scope="module")
def trees() -> dict[str, Any]:
    return {
        name: ns.sample(
            make(model),
            jax.random.key(0),
            num_warmup=100,
            num_samples=200,
            num_chains=20,
            model_args=(4.0,),
            progress=False,
        )
        for name, make in KERNELS.items()
    }


@every_kernel
def test_modes_weigh_what_quadrature_says(name: str, trees: Any) -> None:
    x = trees[name].posterior["x"].to_numpy()
    # chains are independent, so their means tell the error of the mean over all
    shares = (x > 0).mean(axis=1)
    error = shares.std(ddof=1) / np.sqrt(len(shares))
    assert abs(shares.mean() - share_right()) < SIGMAS * error
    assert error < 0.03
    # the scale is not in the likelihood
    scale = trees[name].posterior["scale"].to_numpy()
    assert abs(scale.mean() - np.sqrt(2 / np.pi)) < 0.06


def test_every_evaluation_is_counted(trees: Any) -> None:
    stats = trees["parallel tempering"].sample_stats
    num_grad = stats["num_grad"].to_numpy()
    # (num_local + 1) gradients of every replica but that of the prior
    assert (num_grad == num_grad[0, 0]).all()
    assert num_grad[0, 0] % 5 == 0
    stats = trees["tempered SMC"].sample_stats
    num_grad = stats["num_grad"].to_numpy()
    # those of a population are spread over its draws
    assert (num_grad.reshape(20, 2, 100) == num_grad.reshape(20, 2, 100)[:, :, :1]).all()
    stages = (num_grad - count_grad(1, 0)) / (count_grad(1, 1) - count_grad(1, 0))
    assert (stages == stages.round()).all()
    assert (stages > 1).all()
    assert (stats["acceptance_rate"] < 0.99).all()
    assert not stats["diverging"].to_numpy().any()


def test_only_the_exact_one_is_called_exact(trees: Any) -> None:
    assert trees["parallel tempering"].attrs["exact"] == 1
    assert trees["tempered SMC"].attrs["exact"] == 0


@pytest.mark.parametrize("chain_method", ["sequential", "vectorized"])
@every_kernel
def test_both_run_under_mcmc_and_pickle(name: str, chain_method: str) -> None:
    kernel = pickle.loads(pickle.dumps(KERNELS[name](model)))
    mcmc = MCMC(
        kernel,
        num_warmup=5,
        num_samples=20,
        num_chains=2,
        chain_method=chain_method,
        progress_bar=False,
    )
    mcmc.run(jax.random.key(1), 4.0)
    assert mcmc.get_samples(group_by_chain=True)["x"].shape == (2, 20)


def test_the_ladder_is_learned_once_for_a_model_and_its_data() -> None:
    kernel = ParallelTempering(model, num_particles=64)
    assert kernel.attributes == {}
    first = kernel.fit(jax.random.key(0), 4.0)
    assert kernel.fit(jax.random.key(1), 4.0) is first
    assert kernel.attributes["num_grad_training"] > 0
    assert kernel.fit(jax.random.key(1), 3.0) is not first


def test_a_function_in_place_of_a_model_needs_a_start_or_a_reference() -> None:
    def logdensity(x: Any) -> Any:
        return -0.5 * jnp.sum((x - 1.0) ** 2)

    lengths: Any = {"num_warmup": 20, "num_samples": 200, "num_chains": 4, "progress": False}

    def run(kernel: Any, init_params: Any = None) -> Any:
        return ns.sample(kernel, jax.random.key(0), init_params=init_params, **lengths)

    start = jnp.zeros((4, 2))
    for kernel, given in (
        (ParallelTempering(logdensity_fn=logdensity, num_particles=200), start),
        (TemperedSMC(logdensity_fn=logdensity, num_particles=200), start),
        (
            ParallelTempering(
                logdensity_fn=logdensity, reference=dist.Normal(0.0, 3.0).expand([2])
            ),
            None,
        ),
    ):
        if given is not None:
            with pytest.raises(ValueError, match="init_params"):
                run(kernel)
        tree = run(kernel, init_params=given)
        draws = next(iter(tree.posterior.data_vars.values())).to_numpy()
        assert abs(draws.mean() - 1.0) < 0.3


def test_a_start_that_is_too_far_is_told() -> None:
    def wall(x: Any) -> Any:
        return jnp.where(jnp.sum(x) > 1e6, 0.0, -jnp.inf)

    kernel = ParallelTempering(logdensity_fn=wall, num_particles=64)
    with pytest.raises(ValueError, match="too far from the target"):
        kernel.fit(jax.random.key(0), init_params=jnp.zeros(1))


def test_learning_inside_of_a_compiled_map_is_refused() -> None:
    kernel = ParallelTempering(model)
    with pytest.raises(ValueError, match=r"kernel\.fit"):
        jax.vmap(lambda key: kernel.init(key, 0, None, (4.0,), {}))(
            jax.random.split(jax.random.key(0), 2)
        )


@every_kernel
def test_wrong_numbers_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="num_particles"):
        (ParallelTempering if "parallel" in name else TemperedSMC)(model, num_particles=3)


def test_the_old_name_of_the_reference_still_works() -> None:
    wide = dist.Normal(0.0, 3.0).expand([2])
    for kernel in (GlobalLocal, ParallelTempering, TemperedSMC):
        with pytest.warns(DeprecationWarning, match="'start' is now called 'reference'"):
            kernel(logdensity_fn=lambda x: -jnp.sum(x**2), start=wide)  # type: ignore[call-arg]
