"""Chains that start from exact draws still hold exact draws after some steps; planted bugs do not.

Chains are independent, so a mean over them has standard error `sd / sqrt(chains)`, with the sd of
the target. Each planted bug has to fail the very same function.
A wrong drift is repaired by accept/reject and shows elsewhere (`test_langevin.py`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import numpyro_score as ns
from numpyro_score.kernels.proposals import (
    IndependentProposal,
    from_distribution,
    gaussian_random_walk,
)
from numpyro_score.targets import Target, gumbel, ill_gaussian

NUM_CHAINS = 20_000
NUM_STEPS = 10
SIGMAS = 4.5

# condition 9: variances 1/3, 1, 3 along turned axes
GAUSSIAN = ill_gaussian(dim=3, condition=9.0, rotated=True)
GUMBEL = gumbel(dim=2)
TARGETS = {"gaussian": GAUSSIAN, "gumbel": GUMBEL}


def gaussian_covariance() -> Any:
    hessian = jax.hessian(GAUSSIAN.logdensity_fn)(jnp.zeros(3))
    return np.linalg.inv(-np.asarray(hessian))


class Distribution(NamedTuple):
    """Functions of a draw `(chain, dim) -> (chain, k)`, their expectations and their sds."""

    of: Callable[[Any], Any]
    mean: Any
    sd: Any


def gaussian_distribution() -> Distribution:
    cov = gaussian_covariance()
    rows, columns = np.tril_indices(3)
    variance = np.diag(cov)
    return Distribution(
        lambda x: np.hstack([x, x[:, rows] * x[:, columns]]),
        np.concatenate([np.zeros(3), cov[rows, columns]]),
        np.sqrt(
            np.concatenate([variance, variance[rows] * variance[columns] + cov[rows, columns] ** 2])
        ),
    )


def gumbel_distribution() -> Distribution:
    mean, second = GUMBEL.expectations
    below_0 = np.exp(-1.0)  # P(x < 0)
    return Distribution(
        lambda x: np.hstack([x, x**2, x < 0, x[:, :1] * x[:, 1:]]),
        np.concatenate([mean.truth, second.truth, [below_0] * 2, [np.euler_gamma**2]]),
        np.concatenate(
            [
                mean.sd,
                second.sd,
                [np.sqrt(below_0 * (1 - below_0))] * 2,
                [np.sqrt(second.truth[0] ** 2 - np.euler_gamma**4)],
            ]
        ),
    )


DISTRIBUTIONS = {"gaussian": gaussian_distribution(), "gumbel": gumbel_distribution()}


def z_scores(name: str, draws: Any) -> Any:
    distribution = DISTRIBUTIONS[name]
    values = distribution.of(np.asarray(draws, dtype=float))
    return (values.mean(axis=0) - distribution.mean) / (distribution.sd / np.sqrt(len(values)))


def starts(name: str) -> Any:
    return TARGETS[name].sample(jax.random.key(100), NUM_CHAINS)["x"]


def check_invariant(name: str, run: Any) -> None:
    worst = np.abs(z_scores(name, run.final.position)).max()
    assert worst < SIGMAS, f"a moment is off by {worst:.1f} standard errors"


def check_moves(name: str, run: Any, acceptance: float, jump: float) -> None:
    """Floors on acceptance and on the mean squared jump of a step, in units of the variance."""
    start = starts(name)
    steps = np.diff(np.concatenate([start[None], run.positions]), axis=0)
    assert float(run.info.is_accepted.mean()) > acceptance
    assert (np.mean(steps**2, axis=(0, 1)) > jump * np.var(start, axis=0)).all()
    assert not run.info.is_divergent.any()


def multiplicative(rng_key: Any, x: Any) -> Any:
    log_factor = 0.5 * jax.random.normal(rng_key, x.shape)
    return x * jnp.exp(log_factor), jnp.sum(log_factor)


def covering(name: str) -> Any:
    scale = 2.0 if name == "gaussian" else 2.5
    dim = TARGETS[name].dim
    return from_distribution(dist.StudentT(4.0, 0.3, scale).expand([dim]).to_event(1))


def metric(name: str) -> Any:
    dense = gaussian_covariance() if name == "gaussian" else np.array([[1.5, 0.5], [0.5, 2.0]])
    return jnp.asarray(dense, jnp.float32)


# id: (kernel of a target's name and its log density, floors of acceptance and squared jump)
KERNELS: dict[str, tuple[Callable[[str, Any], Any], float, float]] = {
    "mh-gaussian": (
        lambda name, f: ns.metropolis_hastings(f, gaussian_random_walk(1.0, metric(name))),
        0.3,
        0.15,
    ),
    "mh-multiplicative": (lambda _, f: ns.metropolis_hastings(f, multiplicative), 0.5, 0.05),
    "random_walk": (lambda _, f: ns.random_walk(f, 0.8), 0.3, 0.05),
    "random_walk-dense": (lambda name, f: ns.random_walk(f, 1.0, metric(name)), 0.3, 0.15),
    "independence": (lambda name, f: ns.independence(f, covering(name)), 0.1, 0.1),
    "mala": (lambda _, f: ns.mala(f, 0.3), 0.5, 0.1),
    "mala-diagonal": (
        lambda name, f: ns.mala(f, 0.4, jnp.diagonal(metric(name))),
        0.4,
        0.1,
    ),
    "mala-dense": (lambda name, f: ns.mala(f, 0.6, metric(name)), 0.4, 0.2),
    "mams": (
        lambda name, f: ns.mams(f, 1.0, metric(name), mean_num_steps=2.0),
        0.4,
        0.2,
    ),
    "ghmc": (lambda name, f: ns.ghmc(f, 0.8, metric(name), friction=0.5), 0.4, 0.2),
    "local_mala": (lambda name, f: ns.local_mala(f, 0.6, metric(name)), 0.4, 0.2),
    "local_mams": (
        lambda name, f: ns.local_mams(f, 1.0, metric(name), mean_num_steps=2.0),
        0.4,
        0.2,
    ),
    "mala-drift": (lambda _, f: ns.mala(f, 0.3, drift_fn=lambda x: 0.2 - 0.3 * x), 0.4, 0.05),
    "mala-constant-schedule": (
        lambda _, f: ns.mala(f, 0.3, temperature=lambda step: 1.0),
        0.5,
        0.1,
    ),
}
every_target = pytest.mark.parametrize("name", TARGETS)


# these differ little from others, which run every time
ALIKE = ("random_walk-dense", "mala-diagonal", "mala-constant-schedule")


@every_target
@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c in ALIKE else c for c in KERNELS]
)
def test_exact_draws_stay_exact(case: str, name: str, run_chains: Any) -> None:
    make, acceptance, jump = KERNELS[case]
    algorithm = make(name, TARGETS[name].logdensity_fn)
    run = run_chains(algorithm, 1, starts(name), NUM_STEPS)
    check_invariant(name, run)
    check_moves(name, run, acceptance, jump)


@every_target
def test_the_exact_draws_themselves_pass(name: str) -> None:
    assert np.abs(z_scores(name, starts(name))).max() < SIGMAS


# -- planted bugs ---------------------------------------------------------------------------------


def langevin_proposal(fn: Any, eps: float, *, noise: float = 1.0, ratio: float = 1.0) -> Any:
    """MALA's proposal and correction written out, with its noise or its correction scaled."""
    score = jax.grad(fn)

    def log_q(to: Any, since: Any) -> Any:
        return -jnp.sum((to - since - eps * score(since)) ** 2) / (4 * eps)

    def propose(rng_key: Any, x: Any) -> Any:
        z = jax.random.normal(rng_key, x.shape)
        new = x + eps * score(x) + noise * jnp.sqrt(2 * eps) * z
        return new, ratio * (log_q(x, new) - log_q(new, x))

    return propose


def uncorrected(rng_key: Any, x: Any) -> Any:
    return multiplicative(rng_key, x)[0], jnp.zeros(())


def drifting(rng_key: Any, x: Any) -> Any:
    return x + 0.3 + jax.random.normal(rng_key, x.shape), jnp.zeros(())


def wrong_way(rng_key: Any, x: Any) -> Any:
    new, correction = multiplicative(rng_key, x)
    return new, -correction


def lying_distribution(name: str) -> Any:
    """An independence proposal whose density is that of a narrower distribution."""
    honest = covering(name)

    def draw(rng_key: Any) -> Any:
        x, log_q = honest.sample_and_log_prob(rng_key)
        return x, 1.2 * log_q

    return IndependentProposal(draw, lambda x: 1.2 * honest.log_prob(x))


BUGS: dict[str, Callable[[str, Any], Any]] = {
    "no Hastings ratio": lambda _, f: ns.metropolis_hastings(f, uncorrected),
    "ratio upside down": lambda _, f: ns.metropolis_hastings(f, wrong_way),
    "shifted walk called symmetric": lambda _, f: ns.metropolis_hastings(f, drifting),
    "Langevin without correction": lambda _, f: ns.ula(f, 0.3),
    "Langevin with half the correction": lambda _, f: ns.metropolis_hastings(
        f, langevin_proposal(f, 0.3, ratio=0.5)
    ),
    "noise too small for its accept": lambda _, f: ns.metropolis_hastings(
        f, langevin_proposal(f, 0.3, noise=0.8)
    ),
    "noise too large for its accept": lambda _, f: ns.metropolis_hastings(
        f, langevin_proposal(f, 0.3, noise=1.2)
    ),
    "another temperature": lambda _, f: ns.mala(f, 0.3, temperature=1.1),
    "proposal density not the one drawn from": lambda name, f: ns.independence(
        f, lying_distribution(name)
    ),
}


@every_target
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_seen(bug: str, name: str, run_chains: Any) -> None:
    algorithm = BUGS[bug](name, TARGETS[name].logdensity_fn)
    run = run_chains(algorithm, 1, starts(name), NUM_STEPS)
    with pytest.raises(AssertionError, match="standard errors"):
        check_invariant(name, run)


@every_target
def test_the_written_out_langevin_move_passes_without_its_bugs(name: str, run_chains: Any) -> None:
    fn = TARGETS[name].logdensity_fn
    algorithm = ns.metropolis_hastings(fn, langevin_proposal(fn, 0.3))
    check_invariant(name, run_chains(algorithm, 1, starts(name), NUM_STEPS))


def test_a_chain_that_never_moves_is_seen(run_chains: Any) -> None:
    far = ns.metropolis_hastings(GUMBEL.logdensity_fn, lambda key, x: (x - 1e3, jnp.zeros(())))
    run = run_chains(far, 1, starts("gumbel"), NUM_STEPS)
    check_invariant("gumbel", run)  # moments alone do not see it
    with pytest.raises(AssertionError):
        check_moves("gumbel", run, 0.01, 0.001)


def test_targets_are_what_the_distributions_say() -> None:
    assert all(isinstance(target, Target) for target in TARGETS.values())
    np.testing.assert_allclose(
        np.diag(gaussian_covariance()), GAUSSIAN.expectations[1].truth, rtol=1e-5
    )
