"""`GlobalLocal` as users meet it: under MCMC and sample, fitted once, refusals, warnings."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC

import numpyro_score as ns
from numpyro_score.infer import GlobalLocal
from numpyro_score.infer.learned_jump import EVERY_MIXTURE, EVERY_NETWORK
from numpyro_score.learned import Fitted, Quality, quality
from numpyro_score.samplers.proposals import flow_proposal
from numpyro_score.scores import ResidualMLP


def small(dim: int, rng_key: Any) -> Any:
    return ResidualMLP(dim, width=32, depth=1, rng_key=rng_key)


def bimodal(y: Any) -> None:
    """The square of x is seen: both signs explain it, with equal weight."""
    x = numpyro.sample("x", dist.Normal(0.0, 3.0))
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))
    numpyro.sample("y", dist.Normal(x**2, scale), obs=y)


DATA = jnp.asarray(4.0 + 1.5 * np.random.default_rng(0).normal(size=8), jnp.float32)


def make(**settings: Any) -> GlobalLocal:
    given = {"network": small, "rounds": 1, "proposal": flow_proposal, **settings}
    return GlobalLocal(bimodal, num_particles=1024, progress=False, **given)


@pytest.fixture(scope="module")
def kernel() -> GlobalLocal:
    kernel = make()
    with warnings.catch_warnings():
        # so few particles and so short a training leave tails
        warnings.filterwarnings("ignore", "the weights of the global proposals")
        kernel.fit(jax.random.key(0), DATA)
    return kernel


def share_right(draws: Any) -> float:
    return float((np.asarray(draws) > 0).mean())


def test_both_modes_weigh_the_same_under_mcmc(kernel: GlobalLocal) -> None:
    before = kernel.fitted
    mcmc = MCMC(
        kernel,
        num_warmup=50,
        num_samples=100,
        num_chains=40,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(1), DATA)
    draws = mcmc.get_samples()
    # 20 jumps of 40 chains
    assert abs(share_right(draws["x"]) - 0.5) < 4 * 0.5 / np.sqrt(20 * 40 / 2)
    assert abs(np.abs(draws["x"]).mean() - 2.0) < 0.3
    # trained once for the kernel and its data
    mcmc.run(jax.random.key(2), DATA)
    assert kernel.fitted is before


def test_sample_reports_what_the_jumps_did(kernel: GlobalLocal) -> None:
    tree = ns.sample(
        kernel,
        jax.random.key(3),
        num_warmup=200,
        num_samples=50,
        num_chains=10,
        model_args=(DATA,),
        progress=False,
    )
    stats = tree.sample_stats
    jumped = stats["is_global"].to_numpy()
    assert kernel.global_every == EVERY_NETWORK
    assert (jumped.sum(axis=1) == 50 // EVERY_NETWORK).all()
    assert not tree.warmup_sample_stats["is_global"].to_numpy().any()
    assert stats["global_accept_prob"].to_numpy()[jumped].mean() > 0.4
    assert 0.3 < stats["local_accept_prob"].to_numpy().mean() < 0.9
    assert np.isfinite(stats["log_q"].to_numpy()[jumped]).all()
    assert not stats["is_lost"].to_numpy().any()
    assert stats["longest_rejection"].to_numpy().max() < 10
    assert tree.attrs["exact"] == 1
    # what was learned before, and what it is worth
    assert kernel.fitted is not None
    assert tree.attrs["num_grad_training"] == kernel.fitted.num_grad
    assert tree.attrs["pareto_k"] == kernel.pareto_k
    assert tree.attrs["importance_ess_fraction"] == kernel.ess_fraction


@pytest.mark.parametrize(
    "chain_method",
    [
        pytest.param("sequential", marks=pytest.mark.slow),
        pytest.param("parallel", marks=pytest.mark.slow),
        "vectorized",
    ],
)
def test_a_trained_proposal_serves_every_chain_method(
    chain_method: str, kernel: GlobalLocal
) -> None:
    fitted = kernel.fitted
    assert fitted is not None
    single = GlobalLocal.from_score(bimodal, fitted)
    with warnings.catch_warnings():
        # too few devices for parallel chains
        warnings.filterwarnings("ignore", "There are not enough devices")
        mcmc = MCMC(
            single,
            num_warmup=5,
            num_samples=20,
            num_chains=2,
            chain_method=chain_method,
            progress_bar=False,
        )
    mcmc.run(jax.random.key(4), DATA)
    assert mcmc.get_samples(group_by_chain=True)["x"].shape == (2, 20)
    assert single.fitted is fitted


@pytest.fixture(scope="module")
def by_mixture() -> GlobalLocal:
    kernel = make(proposal=None)
    kernel.fit(jax.random.key(0), DATA)
    return kernel


def test_a_mixture_of_gaussians_suffices_by_default(
    kernel: GlobalLocal, by_mixture: GlobalLocal
) -> None:
    assert kernel.fitted is not None
    assert by_mixture.fitted is not None
    assert kernel.fitted.attributes["proposal"] == "flow"
    assert by_mixture.fitted.attributes["proposal"] == "mixture"
    # no training
    assert np.isnan(by_mixture.fitted.error)
    assert by_mixture.fitted.quality.acceptance_rate > 0.6
    tree = ns.sample(
        by_mixture, jax.random.key(5), num_warmup=100, num_samples=100, num_chains=40,
        model_args=(DATA,), progress=False,
    )  # fmt: skip
    assert by_mixture.global_every == EVERY_MIXTURE
    jumped = tree.sample_stats["is_global"].to_numpy()
    assert (jumped.sum(axis=1) == 100 // EVERY_MIXTURE).all()
    # 50 jumps of 40 chains
    assert abs(share_right(tree.posterior["x"]) - 0.5) < 4 * 0.5 / np.sqrt(50 * 40 / 2)
    with pytest.raises(ValueError, match="only a flow can be inverted"):
        by_mixture.round_trip(jax.random.key(0))


@pytest.mark.parametrize("name", ["kernel", "by_mixture"])
def test_the_evidence_is_that_of_quadrature(name: str, request: Any) -> None:
    fitted = request.getfixturevalue(name).fitted
    assert fitted is not None
    found = fitted.quality
    x, log_scale = np.meshgrid(np.linspace(0.0, 4.5, 600), np.linspace(-3.0, 2.5, 400))
    scale = np.exp(log_scale)
    y = np.asarray(DATA)[:, None, None]
    terms = -0.5 * ((y - x**2) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    log_density = terms.sum(axis=0) - 0.5 * (x / 3) ** 2 - np.log(3 * np.sqrt(2 * np.pi))
    log_density += np.log(2 / (2 * np.sqrt(2 * np.pi))) - 0.5 * (scale / 2) ** 2 + log_scale
    cell = (x[0, 1] - x[0, 0]) * (log_scale[1, 0] - log_scale[0, 0])
    exact = np.log(2 * np.exp(log_density).sum() * cell)  # both signs
    assert abs(found.log_evidence - exact) < 5 * found.log_evidence_error + 0.02


def test_new_data_are_trained_on_anew_and_equal_ones_are_not(kernel: GlobalLocal) -> None:
    assert kernel._preparer.is_ready((DATA,), {})
    assert kernel._preparer.is_ready((jnp.array(DATA),), {})
    assert not kernel._preparer.is_ready((DATA + 1,), {})


@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_refused_before_anything_is_computed(kernel: GlobalLocal) -> None:
    with pytest.raises(ValueError, match="global_every is 0"):
        make(global_every=0)
    with pytest.raises(TypeError, match="num_particles"):
        GlobalLocal(bimodal, num_particles=10.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exactly one of model"):
        GlobalLocal()
    with pytest.raises(ValueError, match="init_params"):
        GlobalLocal(logdensity_fn=lambda x: -jnp.sum(x**2)).fit(jax.random.key(0))
    with pytest.raises(ValueError, match="Gibbs"):
        kernel.refresh(None, (), {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"kernel\.fit"):
        jax.vmap(lambda key: make().init(key, 0, None, (DATA,), {}).i)(
            jax.random.split(jax.random.key(0), 2)
        )


def fitted_of(**changes: float) -> Fitted:
    found = quality(np.zeros(100))._replace(**changes)
    none: Any = None
    return Fitted(none, none, found, (), 0, 0, {}, none)


def test_a_useless_proposal_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="num_particles"):
        fitted_of(acceptance_rate=0.01).warn_if_poor()
    with pytest.warns(UserWarning, match="Pareto k 0.90"):
        fitted_of(pareto_k=0.9, ess_fraction=0.8).warn_if_poor()
    with pytest.warns(UserWarning, match="off by more than its standard error"):
        fitted_of(ess_fraction=0.04).warn_if_poor()
    # of weights that are all about equal the tail is noise
    fitted_of(pareto_k=0.9, ess_fraction=0.95).warn_if_poor()
    fitted_of().warn_if_poor()


def test_quality_of_known_weights() -> None:
    rng = np.random.default_rng(0)
    # a Gaussian target, a proposal twice as wide: acceptance 4 / pi atan(...) by quadrature
    x = 2.0 * rng.normal(size=200_000)
    log_weights = -0.5 * x**2 + 0.5 * (x / 2) ** 2 + np.log(2)
    found: Quality = quality(log_weights)
    weights = np.exp(log_weights)
    pairs = np.minimum(weights[: 10**5], weights[10**5 :]).mean()
    assert abs(found.acceptance_rate - pairs) < 0.01
    assert abs(found.log_evidence) < 5 * found.log_evidence_error
    assert abs(found.ess_fraction - np.sqrt(7) / 4) < 0.01
    assert found.pareto_k < 0.5
