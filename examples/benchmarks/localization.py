"""Localization without training beside tempered SMC, at about as many energy evaluations.

    python examples/benchmarks/localization.py [ring8] [funnel] [two_modes]

Three targets whose moments and mode weights are known. Localization draws each of its points by a
run of its own, with inner chains for the posterior mean; tempered SMC (BlackJAX's, adaptive, with
MALA moves) gets as many particles as bring it to the same number of evaluations, and reports its
particles. Errors are of means and standard deviations, in units of the target's own, and the total
variation of the mode weights.
"""

import sys
import time

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from blackjax.smc import resampling

from numpyro_score.kernels import mala
from numpyro_score.localization import (
    InnerChains,
    IsotropicGaussian,
    choose_start,
    geometric_times,
    localization,
)

NUM_DRAWS = 1000
NUM_MOVES = 10


class Mixture:
    """Gaussians of one sd."""

    def __init__(self, means, weights, sd):
        self.means, self.weights, self.sd = np.array(means, float), np.array(weights), sd
        self.dim = self.means.shape[1]
        self.local_sd = sd

    def logdensity(self, x):
        """Unnormalised."""
        squares = jnp.sum((x - self.means) ** 2, 1) / self.sd**2
        return jax.nn.logsumexp(jnp.log(self.weights) - 0.5 * squares)

    def draws(self, rng, num):
        """Exact ones."""
        which = rng.choice(len(self.weights), num, p=self.weights)
        return self.means[which] + self.sd * rng.normal(size=(num, self.dim))

    def modes(self, x):
        """Total variation of the mode weights."""
        nearest = np.argmin(((x[:, None] - self.means) ** 2).sum(2), 1)
        share = np.bincount(nearest, minlength=len(self.weights)) / len(x)
        return 0.5 * np.abs(share - self.weights).sum()


class Funnel:
    """Neal's funnel: a log scale of sd 3 and nine coordinates of that scale."""

    dim, local_sd = 10, 0.3

    def logdensity(self, x):
        """Unnormalised."""
        return -0.5 * (x[0] / 3) ** 2 - 0.5 * jnp.sum(x[1:] ** 2 * jnp.exp(-x[0]) + x[0])

    def draws(self, rng, num):
        """Exact ones."""
        v = 3 * rng.normal(size=(num, 1))
        return np.concatenate([v, np.exp(v / 2) * rng.normal(size=(num, 9))], 1)

    def modes(self, x):
        """There is one mode."""
        return float("nan")


def targets():
    """Name -> target and sd of a wide reference."""
    angle = np.arange(8) * np.pi / 4
    ring = Mixture(10 * np.stack([np.cos(angle), np.sin(angle)], 1), np.arange(1, 9) / 36, 0.7)
    far = np.full((1, 16), 1.0)
    two = Mixture(np.concatenate([far, -far]), [0.8, 0.2], 1.0)
    return {"ring8": (ring, 8.0), "funnel": (Funnel(), 3.0), "two_modes": (two, 1.6)}


def errors(target, x):
    """Mean and sd of the first coordinate against exact ones, in its sd, and mode weights."""
    exact = target.draws(np.random.default_rng(0), 400_000)
    sd = exact.std(0)[0]
    return (
        abs(x.mean(0)[0] - exact.mean(0)[0]) / sd,
        abs(x.std(0)[0] / sd - 1),
        target.modes(x),
    )


def localized(target, wide, seed):
    """Draws, evaluations and seconds of localization."""
    reference = dist.Normal(0.0, wide).expand([target.dim]).to_event(1)
    process = IsotropicGaussian(target.dim)
    chains = InnerChains(process, target.logdensity, reference, local_sd=target.local_sd)
    times = geometric_times(0.01 / wide**2, 100 / target.local_sd**2, 48)
    plan = localization(process, chains, times)
    began = time.perf_counter()
    x = plan.sample(jax.random.key(seed), NUM_DRAWS, batch_size=250).draws
    seconds = time.perf_counter() - began
    return x, NUM_DRAWS * chains.evaluations_per_time * len(times), seconds, chains


def tempered(target, wide, evaluations, seed):
    """Particles, evaluations and seconds of adaptive tempered SMC."""

    def prior(x):
        return -0.5 * jnp.sum((x / wide) ** 2)

    def likelihood(x):
        return target.logdensity(x) - prior(x)

    kernel = mala.build_kernel()

    def build(num):
        smc = blackjax.adaptive_tempered_smc(
            prior,
            likelihood,
            lambda key, state, logdensity, step_size: kernel(key, state, logdensity, step_size),
            mala.init,
            {"step_size": jnp.full(1, 0.5 * target.local_sd**2)},
            resampling.systematic,
            0.5,
            num_mcmc_steps=NUM_MOVES,
        )
        step = jax.jit(smc.step)
        key_start, key_steps = jax.random.split(jax.random.key(seed))
        state = smc.init(wide * jax.random.normal(key_start, (num, target.dim)))
        levels = 0
        while state.tempering_param < 1:
            state, _ = step(jax.random.fold_in(key_steps, levels), state)
            levels += 1
        return state, levels

    _, levels = build(1000)
    num = min(int(evaluations / (levels * NUM_MOVES)), 400_000)
    began = time.perf_counter()
    state, levels = build(num)
    weights = np.asarray(state.weights, float)
    chosen = np.random.default_rng(seed).choice(num, num, p=weights / weights.sum())
    x = np.asarray(state.particles)[chosen]
    return x, num * levels * NUM_MOVES, time.perf_counter() - began


def main(names):
    """Print the table."""
    row = "{:10} {:22} {:8.3f} {:8.3f} {:8.3f} {:12.2e} {:8.1f}"
    print("target     method                     mean       sd  weights  evaluations  seconds")
    for name in names or targets():
        target, wide = targets()[name]
        x, count, seconds, chains = localized(target, wide, 0)
        print(row.format(name, "localization", *errors(target, x), count, seconds), flush=True)
        x, count, seconds = tempered(target, wide, count, 1)
        print(row.format(name, f"SMC, {len(x)} particles", *errors(target, x), count, seconds))
        exact = target.draws(np.random.default_rng(2), NUM_DRAWS)
        print(row.format(name, f"{NUM_DRAWS} exact draws", *errors(target, exact), 0, 0.0))
        choice = choose_start(chains, jax.random.key(3), [0.0, 0.1 / wide**2, 1 / wide**2])
        print(
            f"{name:10} start: best at {choice.best:.3g}, "
            f"inner R-hat {choice.inner_rhat.round(2)}, "
            f"outer {choice.outer_rhat.round(2)}: {'good' if choice.is_good else 'not good'}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
