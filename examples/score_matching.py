"""
Four ways to learn a score
==========================

A score can be learned from data without their density. *Explicit* score matching compares with the
true score, if it is known. *Implicit* score matching needs the trace of the model's Jacobian
instead (Hyvarinen 2005, jmlr.org/papers/v6/hyvarinen05a.html); *sliced* score matching uses the
Jacobian along random directions (Song, Garg, Shi and Ermon 2019, arXiv:1905.07088); *denoising*
score matching predicts the noise that was added (Vincent 2011, doi:10.1162/NECO_a_00142). Up to
constants they are the same objective, with the same minimiser. They differ in their cost.
"""

import statistics
import sys
import time

import equinox as eqx
import jax
import numpy as np
from matplotlib import pyplot as plt

from numpyro_score.noise import VE, VP
from numpyro_score.scores import GaussianMixtureScore, ResidualMLP, StaticScore
from numpyro_score.training import fit
from numpyro_score.training.losses import (
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    SlicedScoreMatching,
    implicit_score_matching,
)

SHORT = "--short" in sys.argv
NUM_POINTS, NUM_STEPS, BATCH = (10_000, 500, 200) if SHORT else (30_000, 1_500, 512)

# %%
# The data come from three overlapping modes in the plane, whose score is known, with and without
# the noise of sd .25 that denoising adds.
SIGMA = 0.25
modes = [0.2, 0.5, 0.3], [[-1.0, 0.0], [1.0, 0.5], [0.0, -1.5]], 0.6**2
clean = GaussianMixtureScore(*modes, VP())
noised = GaussianMixtureScore(*modes, VE(sigma_min=SIGMA, sigma_max=10.0))
data = clean.sample(jax.random.key(0), NUM_POINTS)
fresh = clean.sample(jax.random.key(1), 25_000 if SHORT else 100_000)


def true_score(x):
    """Score of the data."""
    return clean(x, 0.0)


def noised_score(x):
    """Score of the data with noise of sd .25."""
    return noised(x, 0.0)


losses = {
    "explicit": ExplicitScoreMatching(true_score),
    "implicit": implicit_score_matching,
    "sliced": SlicedScoreMatching(),
    "denoising": DenoisingScoreMatching(SIGMA),
}

# %%
# One objective. For every model the explicit loss is the implicit one plus ``E|s|^2 / 2``, sliced
# and implicit agree in expectation, and the denoising loss is the explicit one of the *noised* data
# plus ``d / (2 sigma^2) - E|s_sigma|^2 / 2``. For three very different models the differences
# are constant, within the standard errors over 50 batches.
models = {
    "standard Gaussian's": lambda x: -x,
    "half the truth": lambda x: true_score(x) / 2,
    "no gradient at all": lambda x: np.float32([[-1.0, 0.5], [-0.2, -0.7]]) @ x,
}
explicit_noised = ExplicitScoreMatching(noised_score, noise_scale=SIGMA)


@eqx.filter_jit
def gaps(batches, rng_keys):
    """Differences of losses for every model, batch by batch, and the two mean squares."""

    def on_batch(batch, key):
        rows = []
        for model in models.values():
            value = {name: loss(model, batch, key) for name, loss in losses.items()}
            rows.append(
                [
                    value["explicit"] - value["implicit"],
                    value["sliced"] - value["implicit"],
                    value["denoising"] - explicit_noised(model, batch, key),
                ]
            )
        points = explicit_noised.points(batch, key)
        scores = jax.vmap(true_score)(batch), jax.vmap(noised_score)(points)
        return rows, [0.5 * (score**2).sum(1).mean() for score in scores]

    return jax.vmap(on_batch)(batches, rng_keys)


rows, halves = gaps(fresh.reshape(50, -1, 2), jax.random.split(jax.random.key(2), 50))
rows = np.array([[np.asarray(gap, np.float64) for gap in row] for row in rows])
half_clean, half_noised = (float(half.mean()) for half in halves)
gap, gap_error = rows.mean(2), rows.std(2, ddof=1) / np.sqrt(50)
expected_gap = np.array([half_clean, 0.0, 2 / (2 * SIGMA**2) - half_noised])
print("differences of losses (s.e.)")
print("model                  explicit - implicit   sliced - implicit   denoising - explicit")
for name, values, errors in zip(models, gap, gap_error, strict=True):
    cells = (f"{value:10.4f} ({error:.4f})" for value, error in zip(values, errors, strict=True))
    print(f"{name:20s} " + "   ".join(cells))
print(f"{'expected':20s} " + "            ".join(f"{value:10.4f}" for value in expected_gap))


# %%
# One score. The same small network is trained with each loss on the same data. Its error is the
# mean squared error at fresh points, relative to the mean square of the true score. Denoising
# learns the score of the noised data, which differs from that of the data by the effect of the
# noise.
@eqx.filter_jit
def relative_error(model, truth, points):
    """Mean squared error relative to the mean square of the true score."""
    found, right = (jax.vmap(score)(points) for score in (model, truth))
    return ((found - right) ** 2).sum() / (right**2).sum()


network = ResidualMLP(2, width=64, depth=2, rng_key=jax.random.key(3))
fitted, error = {}, {}
noised_points = fresh + SIGMA * jax.random.normal(jax.random.key(4), fresh.shape)
for name, loss in losses.items():
    result = fit(
        StaticScore(network, data),
        data,
        loss,
        rng_key=jax.random.key(5),
        num_steps=NUM_STEPS,
        batch_size=BATCH,
        validation_fraction=0.0,
        progress=False,
    )
    fitted[name] = result.model
    error[name] = float(relative_error(result.model, true_score, fresh))
untrained_error = relative_error(StaticScore(network, data), true_score, fresh)
noise_error = relative_error(noised_score, true_score, fresh)
noised_error = relative_error(fitted["denoising"], noised_score, noised_points)
print(f"\nrelative error of the score after {NUM_STEPS} steps (untrained: {untrained_error:.3f})")
for name, value in error.items():
    print(f"{name:10s} {value:.4f}")
print(f"denoising, on noised points against their score: {noised_error:.4f}")
print(f"the noised data's true score against the data's: {noise_error:.4f}")


# %%
# Cost. The gradient of each loss is compiled for networks of 2 to 128 dimensions, its
# floating-point operations are counted by the compiler, and it is timed. The trace needs one
# directional derivative for each dimension, so that the cost of implicit score matching grows in
# proportion to the dimension; sliced and denoising score matching differ by a constant factor.
def cost(name, dim):
    """Operations per point, and seconds per batch."""
    model = StaticScore(ResidualMLP(dim, width=64, depth=2, rng_key=jax.random.key(6)))
    loss = ExplicitScoreMatching(lambda x: -x) if name == "explicit" else losses[name]
    batch = jax.random.normal(jax.random.key(7), (128, dim))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def value(params, batch, key):
        return loss(eqx.combine(params, static), batch, key)

    gradient = jax.jit(jax.grad(value)).lower(params, batch, jax.random.key(8)).compile()
    seconds = []
    for repeat in range(3 if SHORT else 9):
        key = jax.random.key(repeat)
        began = time.perf_counter()
        jax.block_until_ready(gradient(params, batch, key))
        seconds.append(time.perf_counter() - began)
    return gradient.cost_analysis()["flops"] / len(batch), statistics.median(seconds)


dims = np.array([2, 32] if SHORT else [2, 8, 32, 128])
costs = {name: np.array([cost(name, dim) for dim in dims.tolist()]) for name in losses}
operations = {name: rows[:, 0] for name, rows in costs.items()}
print("\noperations of a gradient in units of denoising's (measured time likewise)")
print("   d  " + "".join(f"{name:>18s}" for name in losses))
for place, dim in enumerate(dims):
    ratios = [rows[place] / costs["denoising"][place] for rows in costs.values()]
    print(f"{dim:4d}  " + "".join(f"   {count:6.2f} ({span:5.2f})" for count, span in ratios))

# %%
# The figure: the learned scores along a line through the modes, their errors, and the costs.
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
line = np.stack([np.linspace(-3, 3, 200), np.zeros(200)], 1).astype(np.float32)
axes[0].plot(line[:, 0], jax.vmap(true_score)(line)[:, 0], color="black", linewidth=2.5)
for name, model in fitted.items():
    axes[0].plot(line[:, 0], jax.vmap(model)(line)[:, 0], label=name)
axes[0].set(title="Scores along x1 = 0 (black: truth)", xlabel="x0", ylabel="score along x0")
axes[0].legend()
axes[1].bar(list(error), list(error.values()), color="#4477aa")
axes[1].axhline(noise_error, color="#cc3311", linestyle=":", label="effect of the noise alone")
axes[1].set(title="Error on fresh points", ylabel="relative mean square")
axes[1].legend()
for name, counts in operations.items():
    # explicit lies on denoising
    style = "s--" if name == "explicit" else "o-"
    axes[2].loglog(dims, counts, style, label=name, zorder=3 if name == "explicit" else 2)
axes[2].set(title="Cost of a gradient", xlabel="dimension", ylabel="operations a point")
axes[2].legend()
figure.savefig("score_matching.png", dpi=120)
print("\npicture: score_matching.png")
