"""What `numpyro.infer.MCMC` lets a user do with a kernel, one feature a test."""

import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import arviz as az
import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import init_to_value

import numpyro_score as ns
from numpyro_score.infer import NumPyroKernel
from numpyro_score.kernels.proposals import gaussian_random_walk

SIGMAS = 4.5


def simple_model(y: Any = None) -> None:
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.5))
    numpyro.sample("y", dist.Normal(x.sum(), scale), obs=y)


def parabola(x: Any) -> Any:
    return -0.5 * jnp.sum(x**2)


@pytest.fixture
def traced_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each call of a kernel's `sample`, that is, with each trace of it."""
    calls: list[int] = []
    original = NumPyroKernel.sample

    def counted(self: Any, *args: Any) -> Any:
        calls.append(1)
        return original(self, *args)

    monkeypatch.setattr(NumPyroKernel, "sample", counted)
    return calls


# -- starting points ------------------------------------------------------------------------------

START = {"x": jnp.array([[3.0, -1.0], [0.5, 2.0]]), "scale": jnp.array([0.7, -0.2])}


@pytest.mark.parametrize(
    "method", ["vectorized", pytest.param("sequential", marks=pytest.mark.slow)]
)
def test_init_params_are_where_chains_start(method: str, mcmc_of: Any) -> None:
    kernel = ns.MALA(simple_model, step_size=1e-8, inverse_mass_matrix=jnp.ones(3))
    mcmc = mcmc_of(kernel, num_chains=2, method=method, num_warmup=0, num_samples=1)
    mcmc.run(jax.random.key(0), 1.0, init_params=START)
    draws = mcmc.get_samples(group_by_chain=True)
    np.testing.assert_allclose(draws["x"][:, 0], START["x"], atol=2e-3)
    np.testing.assert_allclose(draws["scale"][:, 0], np.exp(START["scale"]), atol=2e-3)


def test_init_strategy_is_where_chains_start(mcmc_of: Any) -> None:
    values = {"x": jnp.array([0.3, -0.4]), "scale": jnp.array(2.5)}
    kernel = ns.RandomWalkMetropolis(
        simple_model,
        step_size=1e-6,
        inverse_mass_matrix=1.0,
        init_strategy=init_to_value(values=values),
    )
    mcmc = mcmc_of(kernel, num_chains=2, num_warmup=0, num_samples=1)
    mcmc.run(jax.random.key(0), 1.0)
    np.testing.assert_allclose(mcmc.get_samples()["scale"], 2.5, atol=1e-3)


def test_chains_do_not_start_at_one_point() -> None:
    state = ns.MALA(simple_model).init(jax.random.split(jax.random.key(0), 3), 0, None, (1.0,), {})
    assert state.z["x"].shape == (3, 2)
    assert len(np.unique(state.z["x"])) == 6


@pytest.mark.parametrize("method", ["vectorized", "sequential"])
def test_functions_of_pytrees(method: str, mcmc_of: Any) -> None:
    """`potential_fn` and `logdensity_fn` are one target, on any pytree."""
    start = {"a": jnp.zeros((2, 3)), "b": jnp.ones(2)}

    def logdensity(z: Any) -> Any:
        return parabola(z["a"]) + parabola(z["b"] - 1)

    draws = []
    for target in ({"logdensity_fn": logdensity}, {"potential_fn": lambda z: -logdensity(z)}):
        kernel = ns.MALA(**target)  # type: ignore[arg-type]
        assert kernel.model is None
        mcmc = mcmc_of(kernel, num_chains=2, method=method, num_warmup=50, num_samples=20)
        mcmc.run(jax.random.key(0), init_params=start)
        draws.append(mcmc.get_samples(group_by_chain=True))
        assert draws[-1]["a"].shape == (2, 20, 3)
        assert draws[-1]["b"].shape == (2, 20)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *draws)


def test_a_score_alone_is_enough_for_ula(mcmc_of: Any) -> None:
    kernel = ns.ULA(score_fn=lambda x: -x, step_size=0.4)
    mcmc = mcmc_of(kernel, num_chains=200, num_warmup=30, num_samples=100)
    mcmc.run(jax.random.key(0), init_params=jnp.zeros((200, 2)))
    x = np.asarray(mcmc.get_samples(group_by_chain=True), float)
    assert np.isnan(mcmc.get_extra_fields()["potential_energy"]).all()
    # independent chains, correlated by (1 - eps)^k within: n (1 - r^2) / (1 + r^2) for squares
    effective = 200 * 100 * (1 - 0.36) / (1 + 0.36)
    variance = 1 / (1 - 0.4 / 2)
    assert abs((x**2).mean() / variance - 1) < SIGMAS * np.sqrt(2 / (2 * effective))


# -- data -----------------------------------------------------------------------------------------


def test_jit_model_args_takes_new_data_without_a_new_trace(
    mcmc_of: Any, traced_steps: list[int]
) -> None:
    mcmc = mcmc_of(ns.MALA(simple_model), num_warmup=100, num_samples=300, jit_model_args=True)
    sums, traces = [], []
    for y in (-3.0, 3.0):
        mcmc.run(jax.random.key(0), jnp.asarray(y))
        sums.append(float(mcmc.get_samples()["x"].sum(axis=-1).mean()))
        traces.append(len(traced_steps))
    assert sums[0] < -0.8
    assert sums[1] > 0.8
    assert traces[0] == traces[1]


@pytest.mark.parametrize(
    ("by", "method"), [("model", "vectorized"), ("logdensity_fn", "sequential")]
)
def test_a_second_run_traces_the_step_no_more(
    method: str, by: str, mcmc_of: Any, traced_steps: list[int]
) -> None:
    kernel = ns.MALA(simple_model) if by == "model" else ns.MALA(logdensity_fn=parabola)
    y = jnp.asarray(1.0)
    args = (y,) if by == "model" else ()
    start = None if by == "model" else jnp.zeros((2, 3))
    mcmc = mcmc_of(kernel, num_chains=2, method=method, num_warmup=20, num_samples=20)
    mcmc.run(jax.random.key(0), *args, init_params=start)
    first, draws = len(traced_steps), mcmc.get_samples()
    assert first > 0
    mcmc.run(jax.random.key(1), *args, init_params=start)
    assert len(traced_steps) == first
    assert not np.allclose(jax.tree.leaves(draws)[0], jax.tree.leaves(mcmc.get_samples())[0])


# -- runs after runs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(mcmc_of: Any) -> Any:
    """A run of 10 draws, to go on from."""
    mcmc = mcmc_of(ns.MALA(simple_model), num_chains=2, num_warmup=30, num_samples=10)
    mcmc.run(jax.random.key(0), 1.0)
    return mcmc


def test_the_same_key_gives_the_same_draws(ran: Any, same: Any) -> None:
    first = ran.get_samples()
    ran.run(jax.random.key(0), 1.0)
    same(ran.get_samples(), first)


def test_warmup_then_run_is_one_run(mcmc_of: Any) -> None:
    mcmc = mcmc_of(ns.MALA(simple_model), num_chains=4, num_warmup=60, num_samples=30)
    mcmc.warmup(jax.random.key(0), 1.0, collect_warmup=True)
    warm = mcmc.get_samples(group_by_chain=True)
    assert warm["x"].shape == (4, 60, 2)
    state = mcmc.post_warmup_state
    frozen = np.asarray(state.adapt_state.step_size)
    assert (frozen == frozen[0]).all()
    assert (state.i == 60).all()
    mcmc.run(jax.random.key(1), 1.0, extra_fields=("adapt_state.step_size",))
    fields = mcmc.get_extra_fields(group_by_chain=True)
    np.testing.assert_array_equal(
        fields["adapt_state.step_size"], np.repeat(frozen[:, None], 30, 1)
    )
    assert (mcmc.last_state.i == 90).all()
    # the run went on from the last state of the warmup
    jump = np.asarray(mcmc.get_samples(group_by_chain=True)["x"][:, 0] - warm["x"][:, -1])
    assert np.abs(jump).max() < 5


def go_on(mcmc: Any) -> Any:
    mcmc.post_warmup_state = mcmc.last_state
    mcmc.run(mcmc.post_warmup_state.rng_key, 1.0)
    return mcmc.get_samples(group_by_chain=True)["x"]


def test_runs_go_on_from_their_last_state_pickled_or_not(ran: Any, mcmc_of: Any, same: Any) -> None:
    """Two runs of 10 draws are one of 20, and neither warms up again."""
    long = mcmc_of(ns.MALA(simple_model), num_chains=2, num_warmup=30, num_samples=20)
    long.run(jax.random.key(0), 1.0)
    ran.run(jax.random.key(0), 1.0)
    first = ran.get_samples(group_by_chain=True)["x"]
    thawed = pickle.loads(pickle.dumps(ran))
    same(thawed.get_samples(), ran.get_samples())
    assert set(az.from_numpyro(thawed).posterior.data_vars) == {"x", "scale"}
    for mcmc in (ran, thawed):
        np.testing.assert_allclose(
            np.concatenate([first, go_on(mcmc)], axis=1),
            long.get_samples(group_by_chain=True)["x"],
            rtol=1e-5,
            atol=1e-6,
        )
    ran.post_warmup_state = None


PICKLED = {
    "mala": lambda: ns.MALA(simple_model, dense_mass=True),
    "ula": lambda: ns.ULA(simple_model),
    "rwm": lambda: ns.RandomWalkMetropolis(simple_model),
    "mh": lambda: ns.MetropolisHastings(simple_model, proposal=gaussian_random_walk(0.5)),
    "independence": lambda: ns.IndependenceMetropolis(simple_model),
    "logdensity": lambda: ns.MALA(logdensity_fn=parabola),
}


@pytest.mark.parametrize("case", PICKLED)
def test_kernels_pickle_used_or_not(case: str, same: Any) -> None:
    kernel = PICKLED[case]()
    start = jnp.zeros(3) if case == "logdensity" else None
    args = () if case == "logdensity" else (1.0,)
    fresh = pickle.loads(pickle.dumps(kernel))
    first = kernel.init(jax.random.key(0), 10, start, args, {})
    used = pickle.loads(pickle.dumps(kernel))
    for other in (fresh, used):
        same(other.init(jax.random.key(0), 10, start, args, {}), first)


def test_thinning_and_extra_fields(mcmc_of: Any) -> None:
    kernel = ns.MALA(simple_model)
    plain = mcmc_of(kernel, num_chains=2, num_warmup=20, num_samples=20)
    thinned = mcmc_of(kernel, num_chains=2, num_warmup=20, num_samples=20, thinning=5)
    for mcmc in (plain, thinned):
        mcmc.run(jax.random.key(0), 1.0, extra_fields=("i", "mean_accept_prob"))
    np.testing.assert_allclose(
        thinned.get_samples(True)["x"], plain.get_samples(True)["x"][:, 4::5], rtol=1e-5
    )


def test_a_temperature_is_no_longer_exact() -> None:
    hot = ns.MALA(simple_model, temperature=2.0)
    annealed = ns.RandomWalkMetropolis(simple_model, temperature=lambda step: 1.0 / (1 + step))
    assert not hot.exact
    assert not annealed.exact
    assert ns.MALA(simple_model, temperature=1.0).exact


def test_simulated_annealing_ends_in_the_mode(mcmc_of: Any) -> None:
    kernel = ns.MALA(
        logdensity_fn=lambda x: parabola((x - 3.0) / 2.0),
        temperature=lambda step: jnp.maximum(1 - step / 300, 0.0),
        step_size=0.5,
        inverse_mass_matrix=jnp.full(2, 4.0),
        adapt_step_size=False,
        adapt_mass_matrix=False,
    )
    mcmc = mcmc_of(kernel, num_chains=5, num_warmup=0, num_samples=500)
    mcmc.run(jax.random.key(0), init_params=jnp.full((5, 2), -10.0))
    np.testing.assert_allclose(mcmc.get_samples(True)[:, -1], 3.0, atol=1e-2)


def walled(x: Any) -> Any:
    return jnp.where(x > 1, jnp.nan, -0.5 * x**2)


WALLED = {
    "mala": lambda: ns.MALA(logdensity_fn=walled),
    "ula": lambda: ns.ULA(logdensity_fn=walled),
    "rwm": lambda: ns.RandomWalkMetropolis(logdensity_fn=walled),
    "hmc": lambda: ns.BlackJAXKernel(
        blackjax.hmc, logdensity_fn=walled, parameters={"num_integration_steps": 2}
    ),
    "barker": lambda: ns.BlackJAXKernel(blackjax.barker, logdensity_fn=walled),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow) if c in ("rwm", "hmc") else c for c in WALLED],
)
def test_divergences_reach_numpyro(case: str, mcmc_of: Any) -> None:
    """A wall of NaN is not crossed, each try is in the statistics, and warmup gets over it."""
    kernel = WALLED[case]()
    mcmc = mcmc_of(kernel, num_chains=4, num_warmup=100, num_samples=200)
    mcmc.run(jax.random.key(0), init_params=jnp.linspace(-1.0, 0.5, 4))
    assert float(mcmc.get_samples().max()) <= 1
    fields = mcmc.get_extra_fields()
    assert np.isfinite(fields["adapt_state.step_size"]).all()
    assert float(fields["accept_prob"].mean()) > 0.05
    assert fields["diverging"].any()
    assert (fields["accept_prob"][fields["diverging"]] == 0).all()


def test_stuck_chains_are_restarted_in_warmup_only_and_counted(mcmc_of: Any) -> None:
    """One chain starts where the density is flat, 10^4 nats down; and once with it switched off."""

    def plateau(x: Any) -> Any:
        return jnp.maximum(parabola(x), -1e4)

    start = jnp.zeros((8, 2)).at[0].set(1e4)
    for is_on in (True, False):
        kernel = ns.MALA(logdensity_fn=plateau, restart_stuck_chains=is_on)
        mcmc = mcmc_of(kernel, num_chains=8, num_warmup=100, num_samples=50)
        mcmc.run(jax.random.key(0), init_params=start)
        restarts = np.asarray(mcmc.last_state.adapt_state.warmup.num_restarts)
        assert (restarts[0] > 0) == is_on
        assert not restarts[1:].any()
        is_home = np.abs(mcmc.get_samples(True)).max(axis=(1, 2)) < 10
        assert is_home[1:].all()
        assert is_home[0] == is_on


# -- what ArviZ and BlackJAX need -----------------------------------------------------------------


def test_blackjax_parameters_of_init_and_step_reach_both(mcmc_of: Any) -> None:
    """`mclmc.init` wants a key and its step `L`; `mala` takes no mass matrix."""
    kernel = ns.BlackJAXKernel(blackjax.mala, logdensity_fn=parabola, target_accept_prob=0.574)
    mcmc = mcmc_of(kernel, num_chains=8, num_warmup=200, num_samples=300)
    mcmc.run(jax.random.key(0), init_params=jnp.zeros((8, 3)))
    assert abs(float(mcmc.get_extra_fields()["accept_prob"].mean()) - 0.574) < 0.1
    x = np.asarray(mcmc.get_samples())
    assert np.abs(x.mean(axis=0)).max() < 0.25
    fixed = ns.BlackJAXKernel(
        blackjax.hmc,
        logdensity_fn=parabola,
        parameters={
            "num_integration_steps": 2,
            "step_size": 0.3,
            "inverse_mass_matrix": jnp.ones(3),
        },
    )
    assert fixed.target_accept_prob is None
    mcmc = mcmc_of(fixed, num_chains=2, num_warmup=20, num_samples=5)
    mcmc.run(jax.random.key(0), init_params=jnp.zeros((2, 3)))
    np.testing.assert_allclose(mcmc.get_extra_fields()["adapt_state.step_size"], 0.3, rtol=1e-6)
    assert (mcmc.get_extra_fields()["num_grad"] == 2).all()


# -- devices --------------------------------------------------------------------------------------

PARALLEL = """
import sys
import jax, jax.numpy as jnp, numpy as np, numpyro
from numpyro.infer import MCMC
import numpyro_score as ns
import numpyro.distributions as dist

def model():
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("scale", dist.LogNormal(0.0, 0.5))

assert jax.local_device_count() == 2
draws = {}
for method in ("parallel", "sequential"):
    mcmc = MCMC(ns.MALA(model), num_warmup=100, num_samples=100, num_chains=2,
                chain_method=method, progress_bar=False)
    mcmc.run(jax.random.key(0))
    draws[method] = mcmc.get_samples(group_by_chain=True)
    assert draws[method]["x"].shape == (2, 100, 2)
for site in ("x", "scale"):
    np.testing.assert_allclose(draws["parallel"][site], draws["sequential"][site],
                               rtol=1e-3, atol=1e-4)
print("the same")
"""


@pytest.mark.slow
def test_parallel_chains_are_the_sequential_ones() -> None:
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PARALLEL],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("the same"), done.stderr[-2000:]
