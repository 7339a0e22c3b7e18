"""
Denoisers, scores, and slow Langevin dynamics
=============================================

The score ``s = grad log p`` determines a density up to its constant: in one dimension, the density
follows by integration. With noise of sd ``sigma`` the score follows from a denoiser ``D`` by
Tweedie's formula (Efron 2011, doi:10.1198/jasa.2011.tm11181):

    ``s(x) = (D(x) - x) / sigma^2``,    ``D(x) = E[x_0 | x_0 + sigma z = x]``.

At small ``sigma`` this is nearly the score of the data. But ``D(x) - x`` is then tiny where the
density is smooth, and Langevin dynamics, whose steps must be as small as the noise, hardly moves
from a random start. This is why samplers start with large noise.
"""

import sys
from functools import partial

import jax
import numpy as np
from matplotlib import pyplot as plt

import numpyro_score as ns
from numpyro_score.noise import VE
from numpyro_score.scores import FunctionScore, GaussianMixtureScore, PredictDenoised
from numpyro_score.targets import mixture_1d

SHORT = "--short" in sys.argv

# %%
# The score of ``.6 N(-2, 1) + .4 N(4, 2^2)`` is the mean of the two components' scores, weighted by
# their posterior probabilities. It crosses 0 upwards at the minimum and downwards at the modes.
target = mixture_1d()
score = jax.jit(jax.vmap(jax.grad(lambda x: target.logdensity_fn(x[None]))))


def log_density(x):
    """Normalised log density, in closed form."""
    bells = 0.6 * np.exp(-((x + 2) ** 2) / 2) + 0.2 * np.exp(-((x - 4) ** 2) / 8)
    return np.log(bells / np.sqrt(2 * np.pi))


def left_share(x):
    """Probability that a point is from the left component."""
    return 0.6 * np.exp(-((x + 2) ** 2) / 2) / np.sqrt(2 * np.pi) / np.exp(log_density(x))


# %%
# The density from the score: integrate ``s`` by the trapezoid rule for ``log p`` up to a
# constant, then normalise. The error decreases with the square of the spacing, and the weight of
# the left mode is right: in one dimension the score between the modes determines it.
spacings = np.array([0.4, 0.2, 0.1, 0.05])
recovered, density_error, left_weight = {}, [], []
for h in spacings:
    grid = np.arange(-16, 24 + h / 2, h)
    s = np.asarray(score(np.float32(grid)), np.float64)
    potential = np.append(0, np.cumsum((s[1:] + s[:-1]) / 2 * h))
    density = np.exp(potential - potential.max())
    density /= density.sum() * h
    recovered[h] = grid, density
    density_error.append(np.abs(density - np.exp(log_density(grid))).max())
    left_weight.append(h * density @ left_share(grid))
constant = potential - log_density(grid)
density_error, left_weight = np.array(density_error), np.array(left_weight)
print("spacing  largest error of the density  weight of the left mode (truth .6)")
for row in zip(spacings, density_error, left_weight, strict=True):
    print("  {:.2f}          {:.1e}                    {:.5f}".format(*row))
print(f"log p is recovered up to a constant: it varies by {np.ptp(constant):.1e} over the grid")

# %%
# Langevin dynamics with a denoiser. The data have two modes at a distance of 6, with weights .8 and
# .2 and sd .5 in every coordinate; the denoiser is exact, at ``sigma = .01``. Starts are standard
# normal noise in 2, 20 or 784 dimensions (the number of pixels of a small image).
#
# The displacement ``|D(x) - x|`` is ``sigma^2 / (sd^2 + sigma^2) = 4e-4`` of the distance to the
# mode. A relative error of 1e-3 of a learned denoiser would exceed it, and float32 rounding alone
# removes three of its digits. In many dimensions little of it points along the line between the
# modes; most of it reduces the noise of the start.
SD, HALF, BIG = 0.5, 3.0, 0.8
noise = VE(sigma_min=0.01, sigma_max=10.0)
sigma = 0.01
EPS, NUM_STEPS, NUM_CHAINS = sigma**2 / 2, 1_000, 64 if SHORT else 256


def exact_mixture(dim):
    """The distribution of the data, with modes on the first axis."""
    means = HALF * np.eye(2, dim)[[0, 0]] * np.array([[1.0], [-1.0]])
    return GaussianMixtureScore([BIG, 1 - BIG], means, SD**2, noise)


@partial(jax.jit, static_argnames="dim")
def pulled(starts, rng_key, dim):
    """Displacements by the denoiser at the starts, and Langevin dynamics with it."""
    mixture = exact_mixture(dim)
    model = FunctionScore(mixture.denoise, noise, PredictDenoised())
    algorithm = ns.ula(score_fn=lambda x: model(x, 0.0), step_size=EPS)

    def step(state, key):
        state, _ = algorithm.step(key, state)
        return state, state.position[0]

    def one(x, key):
        keys = jax.random.split(key, NUM_STEPS)
        state, axis = jax.lax.scan(step, algorithm.init(x), keys)
        return mixture.denoise(x, 0.0) - x, model(x, 0.0), mixture(x, 0.0), state.position, axis

    return jax.vmap(one)(starts, jax.random.split(rng_key, len(starts)))


# %%
# The step size is ``eps = sigma^2 / 2``, about the largest stable one at this noise. The drift
# of a step is a fiftieth of its noise (drift/noise). Orthogonally to the line between the modes the
# dynamics is linear: 1000 steps keep ``(1 - eps / (sd^2 + sigma^2))^1000`` of the start, which is
# 82%. Along the line chains stay on the side where they start: half of them on each, independently
# of the weights of the modes.
expected_pull = sigma**2 / (SD**2 + sigma**2)
expected_kept = (1 - EPS / (SD**2 + sigma**2)) ** NUM_STEPS
pulls = {}
print(f"\nLangevin with a denoiser at sigma = {sigma}, {NUM_STEPS} steps of {EPS:g}")
print("  d   |D(x)-x|/|x|  of the way  along the line  drift/noise  rounding  ", end="")
print("start kept (s.e.)  exactly  big mode (truth .8)")
for dim in (2, 20, 784):
    starts = jax.random.normal(jax.random.key(dim), (NUM_CHAINS, dim))
    found = pulled(starts, jax.random.key(1), dim)
    x, pull, by_denoiser, exact, end, axis = (np.asarray(a, np.float64) for a in (starts, *found))
    mode = np.where(exact[:, :1] * (SD**2 + sigma**2) + x[:, :1] > 0, HALF, -HALF)
    to_mode = mode * np.eye(1, dim) - x
    lengths = np.linalg.norm(pull, axis=1)
    across, ended = x[:, 1:], end[:, 1:]
    left_over = (across * ended).sum() / (across**2).sum()
    spread = np.sqrt((1 - expected_kept**2) * SD**2 / (across**2).sum())
    pulls[dim] = {
        "relative": np.mean(lengths / np.linalg.norm(x, axis=1)),
        "of_the_way": np.median(lengths / np.linalg.norm(to_mode, axis=1)),
        "along": np.mean(pull[:, 0] ** 2 / lengths**2),
        "to_noise": np.mean(EPS * np.linalg.norm(exact, axis=1)) / np.sqrt(2 * EPS * dim),
        "rounding": np.median(
            np.linalg.norm(by_denoiser - exact, axis=1) / np.linalg.norm(exact, axis=1)
        ),
        "kept": left_over,
        "kept_error": spread,
        "big_mode": np.mean(end[:, 0] > 0),
        "axis": np.concatenate([x[:, :1], axis], 1),
    }
    row = pulls[dim]
    print(
        f"{dim:4d}    {row['relative']:.1e}     {row['of_the_way']:.1e}       {row['along']:.3f}"
        f"         {row['to_noise']:.4f}       {row['rounding']:.0e}      {row['kept']:9.3f}"
        f" ({row['kept_error']:.3f})     {expected_kept:.3f}    {row['big_mode']:.2f}"
    )

# %%
# The figure: the score of the two components, the density recovered from it, and chains in 784
# dimensions along the line between the modes, which they do not reach.
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
line = np.linspace(-6, 12, 400)
axes[0].plot(line, score(np.float32(line)), color="#4477aa", label="score")
axes[0].plot(line, 10 * np.exp(log_density(line)), color="#bbbbbb", label="10 times the density")
axes[0].axhline(0, color="black", linewidth=0.6)
axes[0].set(title="Score of .6 N(-2, 1) + .4 N(4, 4)", xlabel="x")
axes[0].legend()
axes[1].plot(line, np.exp(log_density(line)), color="black", label="density")
for h, marker in ((0.4, "s"), (0.1, ".")):
    axes[1].plot(*recovered[h], marker, markersize=4, label=f"from the score, spacing {h}")
axes[1].set(title="Density by integration", xlabel="x", ylabel="density", xlim=(-6, 12))
axes[1].legend()
axes[2].plot(pulls[784]["axis"][:40].T, linewidth=0.5, color="#4477aa")
for mode in (-HALF, HALF):
    axes[2].axhline(mode, color="#cc3311", linestyle="--")
axes[2].set(
    title="Denoiser at sigma = .01, d = 784", xlabel="step", ylabel="along the line (red: modes)"
)
figure.savefig("denoising_drift.png", dpi=120)
print("\npicture: denoising_drift.png")
