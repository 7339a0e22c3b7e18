"""
Draws with gradients teach a score faster
=========================================

Denoising score matching regresses on the noise that was added to a draw. Its target,
``-z / sigma``, has a variance that grows as the noise falls. For draws of a posterior the
gradient of the log density is known, too, since most samplers compute it. It is also an unbiased
target (De Bortoli et al. 2024, arXiv:2402.08667), with a small variance where that of the noise is
large. ``TargetScoreMatching`` combines the two with weights for which the variance on a Gaussian
is 0.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

from numpyro_score.noise import VE
from numpyro_score.scores import GaussianMixtureScore, ResidualMLP, ScoreNetwork
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import (
    ContinuousDenoising,
    TargetScoreMatching,
    within_mode_covariance,
)

SHORT = "--short" in sys.argv
NUM_POINTS, NUM_STEPS = (2048, 300) if SHORT else (8192, 2500)

# %%
# The target: two narrow modes of unequal weight in 16 dimensions, scaled to about unit variance.
# Its score is known at every noise level.
DIM = 16
noise = VE(sigma_min=0.02, sigma_max=5.0)
means = np.outer([-0.6, 1.7], np.ones(DIM))
truth = GaussianMixtureScore([0.75, 0.25], means, 0.12, noise)
draws = truth.sample(jax.random.key(0), NUM_POINTS)


def logdensity(x):
    """Log density of the data, without noise."""
    away = jnp.sum((x - means) ** 2, axis=1)
    return jax.nn.logsumexp(jnp.log(jnp.array([0.75, 0.25])) - away / (2 * 0.12))


gradients = jax.vmap(jax.grad(logdensity))(draws)
covariance = within_mode_covariance(draws, gradients)
losses = {
    "denoising": ContinuousDenoising(noise),
    "gradients": TargetScoreMatching(covariance, noise=noise),
}


# %%
# The variance of the targets: their mean squared distance from the true score of the noised point,
# in units of the noise, per coordinate.
@eqx.filter_jit
def variances(sigma, rng_key):
    """Variances of the noise target, the gradient target, and their combination."""
    z = jax.random.normal(rng_key, draws.shape)
    level = jnp.full(len(draws), sigma)
    time = noise.time_of(sigma)
    score = jax.vmap(lambda x: truth(x, time))(draws + sigma * z)
    mixed = losses["gradients"].target(gradients, z, jnp.ones(len(draws)), level)
    targets = {"denoising": z, "gradients alone": -sigma * gradients, "mixture": mixed}
    return {name: jnp.mean((value + sigma * score) ** 2) for name, value in targets.items()}


sigmas = jnp.geomspace(0.02, 5.0, 15)
scatter = [variances(sigma, jax.random.key(i)) for i, sigma in enumerate(sigmas)]
scatter = {name: np.array([float(row[name]) for row in scatter]) for name in scatter[0]}
print("variance of the target, per coordinate")
print("sigma   " + "".join(f"{name:>18s}" for name in scatter))
for row, sigma in enumerate(sigmas):
    print(f"{sigma:7.3f} " + "".join(f"{values[row]:18.4f}" for values in scatter.values()))

# %%
# The same network, steps and keys. The remaining denoising loss is mostly the variance of its
# target; that of the combination is the error of the network.
test = truth.sample(jax.random.key(5), 1000)


@eqx.filter_jit
def error_at(model, sigma, rng_key):
    """Mean squared error of the predicted noise, per coordinate, at fresh points."""
    x = test + sigma * jax.random.normal(rng_key, test.shape)
    time = noise.time_of(sigma)
    difference = jax.vmap(lambda x: model(x, time) - truth(x, time))(x)
    return jnp.mean((sigma * difference) ** 2)


history, error = {}, {}
for name, loss in losses.items():
    network = ScoreNetwork(ResidualMLP(DIM, rng_key=jax.random.key(1)), noise, finest=0.1)
    data = draws if name == "denoising" else (draws, gradients)
    result = fit(
        network,
        data,
        loss,
        rng_key=jax.random.key(2),
        num_steps=NUM_STEPS,
        optimizer=cosine_adam(5e-3),
        validation_fraction=0.0,
        progress=False,
    )
    history[name] = result.history.train_loss / DIM
    keys = jax.random.split(jax.random.key(3), len(sigmas))
    error[name] = np.array(
        [float(error_at(result.model, *pair)) for pair in zip(sigmas, keys, strict=True)]
    )
print(f"\nafter {NUM_STEPS} steps: loss per coordinate, error averaged over levels")
for name in losses:
    print(f"{name:10s} {float(history[name][-1]):.4f}  {error[name].mean():.5f}")

# %%
# The figure: variance of the targets, training loss, and the error of the trained scores.
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for name, values in scatter.items():
    # values below rounding are not shown
    axes[0].loglog(sigmas, np.maximum(values, 1e-6), "o-", label=name)
axes[0].set(title="Variance of the target", xlabel="noise level sigma", ylabel="per coordinate")
for name in losses:
    axes[1].semilogy(history[name].step, history[name], label=name)
    axes[2].loglog(sigmas, error[name], "o-", label=name)
axes[1].set(title="Loss in training", xlabel="step", ylabel="per coordinate")
axes[2].set(title="Error of the trained score", xlabel="noise level sigma", ylabel="per coordinate")
for panel in axes:
    panel.legend()
figure.savefig("target_score.png", dpi=120)
print("\npicture: target_score.png")
