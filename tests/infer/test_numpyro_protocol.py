"""Every kernel through `numpyro.infer.MCMC`, chain method by chain method, against quadrature."""

from collections.abc import Callable
from typing import Any

import arviz as az
import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import log_density

import numpyro_score as ns
from numpyro_score.infer import dense_mala
from numpyro_score.kernels.proposals import gaussian_random_walk

SIGMAS = 4.5

# id: (kernel of a model, bias it may have in units of the posterior sd)
KERNELS: dict[str, tuple[Callable[..., MCMCKernel], float]] = {
    "mh": (lambda m: ns.MetropolisHastings(m, proposal=gaussian_random_walk(0.7)), 0.0),
    "rwm": (ns.RandomWalkMetropolis, 0.0),
    "independence": (ns.IndependenceMetropolis, 0.0),
    "mala": (ns.MALA, 0.0),
    "mala-dense": (dense_mala, 0.0),
    "ula": (lambda m: ns.ULA(m, step_size=0.15), 0.25),
    "hmc": (
        lambda m: ns.BlackJAXKernel(blackjax.hmc, m, parameters={"num_integration_steps": 3}),
        0.0,
    ),
    "barker": (
        lambda m: ns.BlackJAXKernel(blackjax.barker, m, target_accept_prob=0.4),
        0.0,
    ),
    "mclmc": (
        lambda m: ns.BlackJAXKernel(
            blackjax.mclmc, m, parameters={"L": 1.5, "step_size": 0.4}, exact=False
        ),
        0.15,
    ),
}
METHODS = {"vectorized": (16, 300, 400), "sequential": (2, 300, 1500)}
RUNS: dict[tuple[str, str], MCMC] = {}

every_kernel = pytest.mark.parametrize("case", KERNELS)
# single chains share their code: each kind of kernel once, the others where time does not matter
ALONE = ("rwm", "mala", "mclmc")


every_run = pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(
            case,
            method,
            marks=[pytest.mark.slow] if method == "sequential" and case not in ALONE else [],
        )
        for case in KERNELS
        for method in METHODS
    ],
)


@pytest.fixture
def run_of(small: Any, mcmc_of: Any) -> Callable[[str, str], MCMC]:
    """One run for each kernel and method, shared by the tests."""

    def run(case: str, method: str) -> MCMC:
        if (case, method) not in RUNS:
            num_chains, num_warmup, num_samples = METHODS[method]
            mcmc = mcmc_of(
                KERNELS[case][0](small.model),
                num_chains=num_chains,
                method=method,
                num_warmup=num_warmup,
                num_samples=num_samples,
            )
            mcmc.run(jax.random.key(0), small.y, extra_fields=("adapt_state.inverse_mass_matrix",))
            RUNS[case, method] = mcmc
        return RUNS[case, method]

    return run


@every_run
def test_moments_are_the_posterior_s(case: str, method: str, run_of: Any, small: Any) -> None:
    draws = {k: np.asarray(v, float) for k, v in run_of(case, method).get_samples(True).items()}
    truth = small.truth(small.y)
    bias = KERNELS[case][1]
    for name, fn in small.functions.items():
        values = fn(draws["mu"], draws["sigma"])
        ess = min(effective_sample_size(values), values.size)
        assert ess > 60, (name, ess)
        error = values.mean() - truth.mean[name]
        limit = SIGMAS * values.std() / np.sqrt(ess) + bias * truth.sd[name]
        assert abs(error) < limit, f"{name}: off by {error:.3g}, limit {limit:.3g}"
        # the spread too, whose error is at most that of a variance of ess draws with tails
        assert abs(values.std() / truth.sd[name] - 1) < SIGMAS * 2 / np.sqrt(ess) + bias, name
    np.testing.assert_allclose(draws["ratio"], draws["mu"] / draws["sigma"], rtol=1e-5)


@every_run
def test_arviz_gets_all(case: str, method: str, run_of: Any, small: Any) -> None:
    mcmc = run_of(case, method)
    num_chains, _, num_samples = METHODS[method]
    tree = az.from_numpyro(mcmc)
    assert set(tree.posterior.data_vars) == {"mu", "sigma", "ratio"}
    assert dict(tree.posterior.sizes) == {"chain": num_chains, "draw": num_samples}
    stats = tree.sample_stats
    assert {"lp", "acceptance_rate", "diverging", "step_size", "num_grad"} <= set(stats.data_vars)
    assert all(
        x.shape == (num_chains, num_samples) for x in stats.data_vars.values() if x.ndim == 2
    )
    rate = stats["acceptance_rate"].values
    assert ((rate >= 0) & (rate <= 1)).all()
    # HMC's is an energy error above 1000, which happens; ours is a number that is not finite
    assert stats["diverging"].values.mean() <= (0.01 if case == "hmc" else 0.0)
    grads = stats["num_grad"].values
    uses_grad = case not in ("mh", "rwm", "independence")
    # the integrator of mclmc takes two gradients a step
    assert (grads == {"hmc": 3, "mclmc": 2}.get(case, int(uses_grad))).all()
    assert (stats["num_logdensity"].values == int(not uses_grad)).all()
    assert tree.observed_data["y"].dims == ("obs",)
    # lp is the log density of the unconstrained position: with the Jacobian of sigma = exp(.)
    one = tree.posterior.isel(draw=slice(0, 20))
    log_prob = jax.vmap(
        jax.vmap(lambda mu, s: log_density(small.model, (small.y,), {}, {"mu": mu, "sigma": s})[0])
    )(one["mu"].values, one["sigma"].values) + np.log(one["sigma"].values)
    np.testing.assert_allclose(
        stats["lp"].isel(draw=slice(0, 20)).values, log_prob, rtol=1e-4, atol=1e-4
    )


@every_run
def test_the_metric_is_collected_once_a_chain(case: str, method: str, run_of: Any) -> None:
    num_chains, _, num_samples = METHODS[method]
    fields = run_of(case, method).get_extra_fields(group_by_chain=True)
    matrix = np.asarray(fields["adapt_state.inverse_mass_matrix"])
    event = (2, 2) if case == "mala-dense" else (2,)
    assert matrix.shape == (num_chains, num_samples, *event)
    assert (matrix == matrix[:, :1]).all()  # frozen before the first draw
    step_size = np.asarray(fields["adapt_state.step_size"])
    assert (step_size == step_size[:, :1]).all()
    if method == "vectorized":
        assert (matrix == matrix[:1]).all()  # one for all chains
        assert (step_size == step_size[:1]).all()
    if case in ("mala", "mala-dense", "rwm", "hmc", "barker", "ula"):
        diagonal = np.diagonal(matrix, axis1=2, axis2=3) if case == "mala-dense" else matrix
        assert (np.abs(diagonal - 1) > 1e-3).all()  # learned
    if case == "ula":
        np.testing.assert_allclose(step_size, 0.15, rtol=1e-6)  # as it was given


@every_kernel
def test_acceptance_is_what_was_asked_for(case: str, run_of: Any) -> None:
    kernel = run_of(case, "vectorized").sampler
    rate = float(run_of(case, "vectorized").get_extra_fields()["accept_prob"].mean())
    if kernel.target_accept_prob is not None:
        assert abs(rate - kernel.target_accept_prob) < 0.1
    assert kernel.exact == (case not in ("ula", "mclmc"))
    if not kernel.exact:
        assert rate == 1


def test_diagnostics_line_names_step_and_acceptance(run_of: Any) -> None:
    mcmc = run_of("mala", "vectorized")
    line = mcmc.sampler.get_diagnostics_str(mcmc.last_state)
    assert line.startswith("step size ")
    assert "acc. prob=0." in line


@pytest.mark.parametrize("case", ["mh", "mala", "ula", "mclmc"])
def test_sample_is_pure(case: str, run_of: Any, small: Any, same: Any) -> None:
    """It changes neither the kernel nor its argument, and repeats itself."""
    mcmc = run_of(case, "vectorized")
    kernel, state = mcmc.sampler, mcmc.last_state
    before = dict(vars(kernel))
    step = jax.jit(lambda s: kernel.sample(s, (small.y,), {}))
    first, second = step(state), step(state)
    assert vars(kernel) == before
    same(first, second)
    assert jax.tree.structure(first) == jax.tree.structure(state)  # type: ignore[operator]
    assert jax.tree.map(jnp.shape, first) == jax.tree.map(jnp.shape, state)
    np.testing.assert_array_equal(first.i, state.i + 1)


@pytest.mark.parametrize("case", ["mala", "mclmc"])
def test_a_batch_is_its_chains_one_by_one(case: str, small: Any) -> None:
    """Past warmup a batch of chains takes the steps that each of them would take alone."""
    kernel = KERNELS[case][0](small.model)
    keys = jax.random.split(jax.random.key(5), 2)
    batch = kernel.init(keys, 0, None, (small.y,), {})
    singles = [kernel.init(key, 0, None, (small.y,), {}) for key in keys]
    step = jax.jit(lambda s: kernel.sample(s, (small.y,), {}))
    for chain, single in enumerate(singles):
        state, alone = batch, single
        # the first P is that of the starts, of one chain or of all
        adapt = alone.adapt_state.warmup
        shared = batch.adapt_state.warmup.preconditioner
        alone = alone._replace(
            adapt_state=alone.adapt_state._replace(warmup=adapt._replace(preconditioner=shared))
        )
        for _ in range(3):
            state, alone = step(state), step(alone)
        for field in ("z", "potential_energy", "accept_prob"):
            jax.tree.map(
                lambda a, b, c=chain: np.testing.assert_allclose(a[c], b, rtol=2e-4, atol=1e-5),
                getattr(state, field),
                getattr(alone, field),
            )
