"""
A diffusion and its time reversal
=================================

The Ornstein-Uhlenbeck process ``dx = -T x dt + sqrt(2 T) dW`` transforms any distribution into
nearly ``N(0, 1)`` as t goes from 0 to 1. Its time reversal, ``dx = (f x - g^2 score) dt + g dW``
run backwards, transforms ``N(0, 1)`` into the original distribution (Anderson 1982,
doi:10.1016/0304-4149(82)90051-5; Song et al. 2021, arXiv:2011.13456), and needs only the score of
the noised distribution. For a Gaussian mixture this score is known exactly, so that all errors
below are due to discretisation.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from matplotlib import pyplot as plt

from numpyro_score.noise import OU, VP, DiscreteVP
from numpyro_score.samplers import (
    ancestral,
    ddim,
    edm_times,
    heun,
    probability_flow,
    quadratic_times,
    reverse_sde,
    uniform_times,
)
from numpyro_score.scores import GaussianMixtureScore

SHORT = "--short" in sys.argv
NUM = 4_000 if SHORT else 40_000
NUM_STEPS = 400 if SHORT else 1_000

WEIGHTS, MEANS, SD = np.array([0.3, 0.7]), np.array([-2.0, 1.5]), 0.4


def exact_cdf(x, noise, t):
    """Distribution function of the mixture with the noise of time t."""
    alpha, sigma = float(noise.alpha(float(t))), float(noise.sigma(float(t)))
    sd = np.hypot(alpha * SD, sigma)
    return scipy.stats.norm.cdf((np.asarray(x)[:, None] - alpha * MEANS) / sd) @ WEIGHTS


def distance(x, noise, t):
    """Kolmogorov-Smirnov distance from the exact distribution; .87 / sqrt(n) for exact draws."""
    return scipy.stats.kstest(np.asarray(x, float), partial(exact_cdf, noise=noise, t=t)).statistic


def score_of(noise):
    """Exact score and log density of the mixture at every time."""
    return GaussianMixtureScore(WEIGHTS, MEANS[:, None], SD**2, noise)


# %%
# Forward: Euler steps of the Ornstein-Uhlenbeck equation, from draws of the mixture. The
# distribution at each time is known: the means shrink by ``e^(-T t)`` and the variance is ``e^(-2 T
# t) sd^2 + 1 - e^(-2 T t)``.
ou = OU(end_time=3.0)
data = np.asarray(score_of(ou).sample(jax.random.key(0), NUM))[:, 0]


@jax.jit
def forward(x, rng_key):
    """Positions at all steps, `(step + 1, num)`."""
    dt = 1 / NUM_STEPS

    def step(x, row):
        t, key = row
        z = jax.random.normal(key, x.shape)
        x = x + ou.drift_coefficient(t) * x * dt + ou.diffusion(t) * jnp.sqrt(dt) * z
        return x, x

    times = jnp.arange(NUM_STEPS) * dt
    _, way = jax.lax.scan(step, x, (times, jax.random.split(rng_key, NUM_STEPS)))
    return jnp.concatenate([x[None], way])


forwards = np.asarray(forward(data, jax.random.key(1)))
forward_times = np.linspace(0, 1, NUM_STEPS + 1)

# %%
# Backward: the reverse diffusion from ``N(0, 1)``, with the exact score. It has the same
# distributions at the same times.
sampler = reverse_sde(score_of(ou), ou, (1,), num_steps=100)
backward_times, path = sampler.trajectory(jax.random.key(2), NUM)
backward_times, backwards = np.asarray(backward_times), np.asarray(path)[:, :, 0].T

chance = 0.87 / np.sqrt(NUM)
print(f"Kolmogorov-Smirnov distance from the distribution at time t, by chance {chance:.4f}")
print("    t   forwards  backwards")
distances = []
for t in (0.05, 0.2, 0.5, 1.0):
    there, back = np.abs(forward_times - t).argmin(), np.abs(backward_times - t).argmin()
    found = [
        distance(forwards[there], ou, forward_times[there]),
        distance(backwards[back], ou, backward_times[back]),
    ]
    distances.append(found)
    print("{:5.2f} {:10.4f} {:10.4f}".format(t, *found))

# %%
# DDPM noises in N steps, ``x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z`` (Ho, Jain and Abbeel
# 2020, arXiv:2006.11239). With ``beta_i = beta(i / N) / N`` it becomes the variance-preserving
# equation ``dx = -beta(t) x / 2 dt + sqrt(beta(t)) dW`` as N grows: their ``alpha`` differ by
# O(1 / N).
vp = VP()
print("\n    N  largest difference of alpha, DDPM's chain to the VP equation")
gaps = {}
for num in (10, 100, 1000):
    steps = np.arange(1, num + 1) / num
    betas = (vp.beta_min + (vp.beta_max - vp.beta_min) * steps) / num
    if betas.max() < 1:
        chain, at = DiscreteVP(betas), jnp.asarray(steps)
        gaps[num] = float(jnp.abs(chain.alpha(at) - vp.alpha(at)).max())
        print(f"{num:5d} {gaps[num]:10.5f}")
    else:
        print(f"{num:5d}       none: a beta is above 1, too few steps")

# %%
# Four samplers from the same noise: DDPM's ancestral steps, the reverse SDE, DDIM (Song,
# Meng and Ermon 2021, arXiv:2010.02502) and Heun steps of the probability flow, with the number of
# score evaluations of each; all stop at t = .001. The deterministic ones need only a few dozen.
ddpm = DiscreteVP(np.linspace(1e-4, 0.02, 1000))
score = score_of(ddpm)
ways = {
    "DDPM, 1000 steps": reverse_sde(
        score, ddpm, (1,), num_steps=1000, method=ancestral, grid=uniform_times
    ),
    "reverse SDE, 100 steps": reverse_sde(score, ddpm, (1,), num_steps=100, grid=edm_times),
    "DDIM, 50 steps": probability_flow(
        score, ddpm, (1,), num_steps=50, method=ddim, grid=quadratic_times
    ),
    "flow, Heun, 20 steps": probability_flow(score, ddpm, (1,), num_steps=20, method=heun),
}
print(f"\nweight of the right mode {WEIGHTS[1]} (+- {np.sqrt(0.21 / NUM):.4f})")
print("                          calls  weight   distance")
drawn, back = {}, {}
for name, sampler in ways.items():
    drawn[name] = np.asarray(sampler.sample(jax.random.key(3), NUM))[:, 0]
    weight = float((drawn[name] > 0).mean())
    back[name] = sampler.evaluations, weight, distance(drawn[name], ddpm, 1e-3)
    print("{:24s} {:6d} {:8.4f} {:9.4f}".format(name, *back[name]))

# %%
# The figure: paths in both directions, the two schedules, and draws of the four samplers.
figure, axes = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained")
for axis, times, paths, title in (
    (axes[0, 0], forward_times, forwards, "Forwards: from data to noise"),
    (axes[0, 1], backward_times, backwards, "Backwards: from noise to data"),
):
    axis.plot(times, paths[:, :25], lw=0.6, alpha=0.8)
    axis.set(title=title, xlabel="t", ylabel="x", ylim=(-4, 4))
axes[0, 1].invert_xaxis()
axis = axes[1, 0]
t = jnp.linspace(0, 1, 200)
axis.plot(t, vp.alpha(t), label="VP equation")
axis.plot(t, ddpm.alpha(t), "--", label="DDPM, N = 1000")
axis.plot(t, ou.alpha(t), ":", label="Ornstein-Uhlenbeck, T = 3")
axis.set(title="What is left of the data", xlabel="t", ylabel="alpha")
axis.legend()
axis = axes[1, 1]
x = np.linspace(-4, 4, 400)
bells = scipy.stats.norm.pdf((x[:, None] - MEANS) / SD) / SD
axis.plot(x, bells @ WEIGHTS, "k", label="exact")
for name, draws in drawn.items():
    axis.hist(draws, bins=120, range=(-4, 4), density=True, histtype="step", label=name)
axis.set(title="Draws", xlabel="x", ylabel="density")
axis.legend(fontsize=7)
figure.savefig("diffusion.png", dpi=120)
print("picture: diffusion.png")
