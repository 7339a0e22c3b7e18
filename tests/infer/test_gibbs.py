"""Our kernels as blocks of NumPyro's `Gibbs`, beside NUTS and `DiscreteGibbs`; discrete sites."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import NUTS, DiscreteGibbs, Gibbs

import numpyro_score as ns

SIGMAS = 4.5


def check_moments(values: Any, mean: float, sd: float) -> None:
    """Chains `(chain, draw)` against a known mean and sd."""
    values = np.asarray(values, float)
    ess = min(effective_sample_size(values), values.size)
    assert ess > 100, ess
    assert abs(values.mean() - mean) < SIGMAS * sd / np.sqrt(ess)
    assert abs(values.std() / sd - 1) < SIGMAS * 2 / np.sqrt(ess)


BLOCKS = {
    "mala-nuts": lambda m: [(ns.MALA(m), ["sigma"]), (NUTS(m), ["mu"])],
    "rwm-mala": lambda m: [(ns.RandomWalkMetropolis(m), ["mu"]), (ns.MALA(m), ["sigma"])],
    "rest": lambda m: [(ns.MALA(m), ["sigma"]), (ns.IndependenceMetropolis(m), None)],
}


@pytest.mark.parametrize(
    ("blocks", "method"),
    [
        pytest.param("mala-nuts", jax.vmap, marks=pytest.mark.slow),
        ("mala-nuts", "sequential"),
        pytest.param("rwm-mala", jax.vmap, marks=pytest.mark.slow),
        ("rest", jax.vmap),
    ],
)
def test_blocks_of_a_model_with_a_constrained_site(
    blocks: str, method: Any, small: Any, mcmc_of: Any
) -> None:
    num_chains, num_samples = (2, 1500) if method == "sequential" else (8, 500)
    mcmc = mcmc_of(
        Gibbs(BLOCKS[blocks](small.model)),
        num_chains=num_chains,
        method=method,
        num_warmup=200,
        num_samples=num_samples,
    )
    mcmc.run(jax.random.key(0), small.y)
    draws = {k: np.asarray(v) for k, v in mcmc.get_samples(True).items()}
    truth = small.truth(small.y)
    assert (draws["sigma"] > 0).all()
    for name, fn in small.functions.items():
        check_moments(fn(draws["mu"], draws["sigma"]), truth.mean[name], truth.sd[name])


def mixture(y: Any) -> None:
    """Which of two locations, and how far off: the label's posterior is known given the rest."""
    label = numpyro.sample("label", dist.Bernoulli(0.3))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(jnp.where(label == 1, 1.5, -0.5), scale), obs=y)


def enumerated(y: Any) -> None:
    label = numpyro.sample("label", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(jnp.where(label == 1, 1.5, -0.5), scale), obs=y)


def mixture_truth(y: float) -> tuple[float, float, float, float]:
    """P(label = 1 | y), E and sd of the scale, by quadrature."""
    scale = np.linspace(1e-4, 8, 40_000)
    joint = [
        p * np.exp(-0.5 * scale**2 - 0.5 * ((y - at) / scale) ** 2) / scale
        for p, at in ((0.7, -0.5), (0.3, 1.5))
    ]
    total = joint[0] + joint[1]
    mean = (scale * total).sum() / total.sum()
    second = (scale**2 * total).sum() / total.sum()
    p = float(joint[1].sum() / total.sum())
    return p, float(np.sqrt(p * (1 - p))), float(mean), float(np.sqrt(second - mean**2))


def test_beside_discrete_gibbs(mcmc_of: Any) -> None:
    y = 0.9
    kernel = Gibbs([(DiscreteGibbs(mixture), ["label"]), (ns.MALA(mixture), ["scale"])])
    mcmc = mcmc_of(kernel, num_chains=16, method=jax.vmap, num_warmup=200, num_samples=500)
    mcmc.run(jax.random.key(0), y)
    draws = mcmc.get_samples(True)
    p, p_sd, mean, sd = mixture_truth(y)
    check_moments(draws["label"], p, p_sd)
    check_moments(draws["scale"], mean, sd)


def test_enumerable_sites_are_summed_out(mcmc_of: Any) -> None:
    y = 0.9
    mcmc = mcmc_of(ns.MALA(enumerated), num_chains=16, num_warmup=200, num_samples=500)
    mcmc.run(jax.random.key(0), y)
    _, _, mean, sd = mixture_truth(y)
    draws = mcmc.get_samples(True)
    assert set(draws) == {"scale"}
    check_moments(draws["scale"], mean, sd)


def test_without_funsor_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "funsor"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith("numpyro.contrib.funsor")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "funsor", None)
    with pytest.raises(ImportError, match=r"(?s)funsor.*pip install 'numpyro-score\[enum\]'"):
        ns.MALA(enumerated).init(jax.random.key(0), 0, None, (0.9,), {})


def test_sites_that_cannot_be_summed_out_are_named() -> None:
    def counting(y: Any) -> None:
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        count = numpyro.sample("count", dist.Poisson(rate))
        numpyro.sample("y", dist.Normal(count, 1.0), obs=y)

    with pytest.raises(ValueError, match=r"(?s)count.*DiscreteGibbs"):
        ns.MALA(counting).init(jax.random.key(0), 0, None, (2.0,), {})
