"""
A barrier between two modes
===========================

Langevin dynamics on ``p = (1 - w) N(-a, 1) + w N(a, 1)`` converges at the rate of the generator's
smallest positive eigenvalue, which decreases with the height of the barrier between the modes: the
relaxation time grows like ``exp(a^2 / 2)`` (Kramers 1940, doi:10.1016/S0031-8914(40)90098-2).
Stochastic localization (Montanari 2023, arXiv:2305.10690) simulates an observation
``Y_t = t x + W_t`` of a draw ``x`` instead, ``dY = E[x | Y_t] dt + dB``, in a number of steps that
does not depend on the barrier. It needs the posterior mean at every time, which is exact here.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import norm

import numpyro_score as ns
from numpyro_score.localization import (
    DenoiserMean,
    IsotropicGaussian,
    geometric_times,
    localization,
)
from numpyro_score.noise import VE
from numpyro_score.scores import GaussianMixtureScore

SHORT = "--short" in sys.argv
DISTANCES = (1.0, 2.0, 3.0) if SHORT else (1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
NUM_CHAINS = 1000 if SHORT else 4000
WEIGHT = 0.7
STEP = 0.02
NUM_TIMES = 200


# %%
# Expected values: the generator ``L f = f'' + (log p)' f'`` on a grid is a matrix of jump rates
# between neighbours. Weighted by ``p`` it is symmetric; its eigenvalues are 0 and minus the
# relaxation rates. It also gives the share of ``x > 0`` at any time.
def spectrum(distance, num=600):
    """Relaxation time, one over the smallest rate, and the share of x > 0 after it."""
    x = np.linspace(-distance - 6, distance + 6, num)
    bells = [np.exp(-0.5 * (x - m) ** 2) for m in (-distance, distance)]
    p = (1 - WEIGHT) * bells[0] + WEIGHT * bells[1]
    leaves = np.zeros(num)
    leaves[1:] += np.sqrt(p[:-1] / p[1:])
    leaves[:-1] += np.sqrt(p[1:] / p[:-1])
    beside = np.ones(num - 1)
    matrix = (np.diag(leaves) - np.diag(beside, 1) - np.diag(beside, -1)) / (x[1] - x[0]) ** 2
    rates, modes = np.linalg.eigh(matrix)
    after = modes @ (np.exp(-rates / rates[1]) * (modes.T @ (np.sqrt(p) * (x > 0)))) / np.sqrt(p)
    return 1 / rates[1], after[np.abs(x + distance).argmin()]


waiting = {distance: spectrum(distance) for distance in DISTANCES}

# %%
# Langevin: chains that start in the left mode make as many Metropolis-adjusted steps as one
# relaxation time takes. Their step size, .02, is small relative to the curvature of the barrier;
# with larger steps the chain is still exact, but its time differs from that of the diffusion.


def logdensity_fn(x, distance):
    """Log density of two Gaussians of sd 1, up to a constant."""
    left = jnp.log1p(-WEIGHT) - 0.5 * (x + distance) ** 2
    return jnp.logaddexp(left, jnp.log(WEIGHT) - 0.5 * (x - distance) ** 2)


@jax.jit
def right_share(distance, num_steps, rng_key):
    """Share of the chains with x > 0 after `num_steps` steps."""
    algorithm = ns.mala(lambda x: logdensity_fn(x, distance), step_size=STEP)

    def chain(rng_key):
        def step(i, state):
            return algorithm.step(jax.random.fold_in(rng_key, i), state)[0]

        start = algorithm.init(-distance)
        return jax.lax.fori_loop(0, num_steps, step, start).position > 0

    return jnp.mean(jax.vmap(chain)(jax.random.split(rng_key, NUM_CHAINS)))


# %%
# Localization: the posterior mean is that of a Gaussian mixture in noise, and the times are the
# same two hundred for every barrier.


def localized(distance):
    """The sampler, and its draws."""
    noise = VE(sigma_min=0.01, sigma_max=100.0)
    means = jnp.array([[-distance], [distance]])
    weights = jnp.array([1 - WEIGHT, WEIGHT])
    score = GaussianMixtureScore(weights, means, jnp.ones(2), noise)
    plan = localization(
        IsotropicGaussian(1), DenoiserMean(score), geometric_times(1e-3, 1e3, NUM_TIMES)
    )
    return plan, plan.sample(jax.random.key(2), NUM_CHAINS).draws[:, 0]


rows = []
error = np.sqrt(WEIGHT * (1 - WEIGHT) / NUM_CHAINS)
print(f"Share of x > 0, of {NUM_CHAINS} chains or draws (+- {error:.3f})")
print("      Langevin, after one waiting time      localization, at its end")
print("  a     time    steps    share  exactly   steps    share  exactly")
for place, distance in enumerate(DISTANCES):
    wait, exactly = waiting[distance]
    num_steps = round(wait / STEP)
    key = jax.random.fold_in(jax.random.key(1), place)
    found = float(right_share(distance, num_steps, key))
    plan, draws = localized(distance)
    share = float((draws > 0).mean())
    truth = norm.cdf(-distance) + WEIGHT * (norm.cdf(distance) - norm.cdf(-distance))
    rows.append((distance, wait, num_steps, found, exactly, NUM_TIMES, share, truth))
    print("{:3.1f} {:8.1f} {:8d} {:8.3f} {:8.3f} {:7d} {:8.3f} {:8.3f}".format(*rows[-1]))
table = np.array(rows)

# %%
# The figure: ``Y_t / t`` is the draw with decreasing noise, and approaches one of the modes. The
# relaxation time of the chains grows faster than exponentially with ``a``; localization takes two
# hundred steps.
way = plan.trajectory(jax.random.key(3), 12)
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
x = np.linspace(-8, 8, 400)
for distance in DISTANCES[:: max(1, len(DISTANCES) // 3)]:
    bells = [np.exp(-0.5 * (x - m) ** 2) for m in (-distance, distance)]
    density = ((1 - WEIGHT) * bells[0] + WEIGHT * bells[1]) / np.sqrt(2 * np.pi)
    left.plot(x, density, label=f"a = {distance:g}")
left.set(title="The barrier rises", xlabel="x", ylabel="density")
left.legend()
middle.plot(way.times[1:], (way.observations[:, 1:, 0] / way.times[1:]).T, lw=0.8)
middle.set(
    title=f"Localization decides (a = {DISTANCES[-1]:g})",
    xlabel="t",
    ylabel="$Y_t / t$",
    xscale="log",
    xlim=(0.01, 1e3),
    ylim=(-15, 15),
)
right.plot(table[:, 0], table[:, 2], "o-", label="Langevin, steps of one waiting time")
right.axhline(NUM_TIMES, color="C1", label="localization, all steps")
right.plot(table[:, 0], 50 * np.exp(table[:, 0] ** 2 / 2), "k:", label="$50\\,e^{a^2 / 2}$")
right.set(title="Cost of a draw", xlabel="half the distance, a", ylabel="steps", yscale="log")
right.legend(fontsize=8)
figure.savefig("mode_barrier.png", dpi=120)
print("picture: mode_barrier.png")
