"""
A prior that is given by draws
==============================

The prior of a parameter is sometimes a data set: earlier estimates, simulations, images. A network
can learn its density and replace a distribution in a NumPyro model by ``numpyro.factor``. An
*energy* network is an unnormalised density, so that exact kernels can be used, and the only error
is that of learning. A network for the score alone needs approximate samplers (Song et al. 2021,
arXiv:2011.13456). Here the prior is a banana with known density, so that all errors can be checked.
"""

import sys

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from numpyro.distributions import constraints

import numpyro_score as ns
from numpyro_score.diagnostics import assess, expectation_errors
from numpyro_score.noise import VE
from numpyro_score.samplers import GaussianPosteriorScore, PosteriorScore, spread_of_gaussian
from numpyro_score.scores import EnergyNet, ResidualMLP, ScoreNetwork
from numpyro_score.targets import Expectation, banana
from numpyro_score.training import fit
from numpyro_score.training.losses import ContinuousDenoising, SlicedScoreMatching

SHORT = "--short" in sys.argv
NUM_STEPS, NUM_DRAWS = (600, 3_000) if SHORT else (3_000, 5_000)
prior = banana()
earlier = np.asarray(prior.sample(jax.random.key(0), 20_000)["x"])  # the given draws

# %%
# The energy is trained by sliced score matching (Song, Garg, Shi and Ermon 2020, arXiv:1905.07088),
# which needs neither samples of the model nor the constant. The result is normalised on a grid. Its
# distance from the true density is half the integral of the absolute difference (total variation).
energy, _ = fit(
    EnergyNet(2, width=64, data=earlier, rng_key=jax.random.key(1)),
    earlier,
    SlicedScoreMatching(),
    rng_key=jax.random.key(2),
    num_steps=NUM_STEPS,
    progress=False,
)
sides = np.linspace(-45, 45, 301, dtype=np.float32), np.linspace(-12, 60, 481, dtype=np.float32)
grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)  # (301, 481, 2)


def log_densities(log_density):
    """Values on the grid."""
    values = jax.jit(jax.vmap(jax.vmap(log_density)))(grid)
    return np.asarray(values, np.float64)


def normalised(log_density):
    """Masses of the grid's cells."""
    mass = np.exp(log_density - log_density.max())
    return mass / mass.sum()


log_true, log_learned = log_densities(prior.logdensity_fn), log_densities(energy.logdensity)
prior_distance = np.abs(normalised(log_true) - normalised(log_learned)).sum() / 2
print(f"learned prior to true prior: total variation {prior_distance:.3f}")

# %%
# Data: ``y = x_0 + x_1 / 2``, with noise of standard deviation 5. For any prior with known density
# the posterior is computed on the grid: the exact posterior, and that of the learned prior, which
# an exact kernel should sample.
OPERATOR, NOISE_SD, OBSERVED = np.array([1.0, 0.5], np.float32), 5.0, 4.0


def log_likelihood(x):
    return -0.5 * ((x @ OPERATOR - OBSERVED) / NOISE_SD) ** 2


def expectations_of(mass):
    """Means of both coordinates and of their squares, with the sds of these."""
    known = []
    for name, power in (("mean", 1), ("second_moment", 2)):
        values = grid.astype(np.float64) ** power
        truth = (mass[..., None] * values).sum((0, 1))
        sd = np.sqrt((mass[..., None] * (values - truth) ** 2).sum((0, 1)))
        known.append(Expectation(name, "x", lambda draws, p=power: draws["x"] ** p, truth, sd))
    return known


exact_mass = normalised(log_true + log_likelihood(grid))
learned_mass = normalised(log_learned + log_likelihood(grid))
exact, learned = expectations_of(exact_mass), expectations_of(learned_mass)
posterior_distance = np.abs(exact_mass - learned_mass).sum() / 2
print(f"posteriors they imply: total variation {posterior_distance:.3f}")


# %%
# The learned prior in a NumPyro model. The site has an improper distribution, and the factor adds
# the learned log density. The model can then be used with MALA, NUTS or any other kernel.
def model(y):
    x = numpyro.sample("x", dist.ImproperUniform(constraints.real_vector, (), (2,)))
    numpyro.factor("learned prior", energy.logdensity(x))
    numpyro.sample("y", dist.Normal(x @ OPERATOR, NOISE_SD), obs=y)


run_settings = {"num_samples": NUM_DRAWS, "num_chains": 16, "progress": False}
runs = {
    "energy, MALA": ns.sample(
        ns.MALA(model, dense_mass=True),
        jax.random.key(3),
        num_warmup=500,
        model_args=(OBSERVED,),
        **run_settings,
    )
}
found = assess(runs["energy, MALA"])
print(f"MALA converged: {found.verdict.is_converged}, R-hat {found.verdict.rhat_max:.4f}")

# %%
# A score at every noise level, learned from the same draws, does not give a density. There are
# three ways to use it, all approximate and labelled so. The reverse SDE with the score of the
# likelihood added, either with the spread of ``x`` given the noised point
# (``GaussianPosteriorScore``; here that of a Gaussian prior, which is less sensitive to errors of
# the learned score at high noise) or without it (``PosteriorScore``, which takes any likelihood and
# is overconfident). And Metropolis-Hastings with the score at the smallest noise, whose line
# integral replaces the log ratio of densities.
noise = VE(sigma_min=0.1, sigma_max=60.0)
score, _ = fit(
    ScoreNetwork(ResidualMLP((2,), width=64, rng_key=jax.random.key(4)), noise, earlier),
    earlier,
    ContinuousDenoising(),
    rng_key=jax.random.key(5),
    num_steps=2 * NUM_STEPS,
    progress=False,
)
with_spread = GaussianPosteriorScore(
    score, OPERATOR[None], [OBSERVED], NOISE_SD**2, spread=spread_of_gaussian
)
without_spread = PosteriorScore(score, log_likelihood)


def posterior_score(position):
    x = position["x"]
    return {"x": score(x, 0.0) + jax.grad(log_likelihood)(x)}


approximate = {
    "score, reverse SDE": ns.ReverseSDE(model, score=with_spread, num_steps=60),
    "score, no spread": ns.ReverseSDE(model, score=without_spread, num_steps=60),
    "score, Metropolis": ns.ScoreMetropolis(posterior_score, dense_mass=True),
}
independent, chained = {"num_warmup": 0, "model_args": (OBSERVED,)}, {"num_warmup": 500}
for name, kernel in approximate.items():
    is_chain = isinstance(kernel, ns.ScoreMetropolis)
    own = {**chained, "init_params": {"x": earlier[:16]}} if is_chain else independent
    num_samples = NUM_DRAWS if is_chain else NUM_DRAWS // 4  # independent draws need no more
    runs[name] = ns.sample(
        kernel, jax.random.key(6), **own, **{**run_settings, "num_samples": num_samples}
    )

# %%
# Comparison with the exact posterior: means and standard deviations, and the largest error of a
# mean or a second moment in Monte Carlo standard errors. The exact kernel is also compared with the
# posterior of the learned prior, which it samples: there only Monte Carlo error remains. Exact
# draws from the prior, weighted by the likelihood, are a check of the exact values.
weights = np.exp(np.asarray(log_likelihood(earlier), np.float64))
weights /= weights.sum()
weighted = [weights @ earlier.astype(np.float64) ** power for power in (1, 2)]
weighted_errors = [
    np.sqrt(weights**2 @ (earlier.astype(np.float64) ** power - mean) ** 2)
    for power, mean in zip((1, 2), weighted, strict=True)
]
tables = {name: expectation_errors(dt, exact) for name, dt in runs.items()}
own_error = expectation_errors(runs["energy, MALA"], learned).error_mcse.max()
print("\nposterior             exact      mean            sd          worst error, in sds (mcses)")


def spelled(mean, second):
    sd = np.sqrt(second - mean**2)
    return f"{mean[0]:6.2f} {mean[1]:6.2f}   {sd[0]:6.2f} {sd[1]:6.2f}"


print(f"by quadrature         yes   {spelled(exact[0].truth, exact[1].truth)}")
print(f"exact draws, weighted yes   {spelled(*weighted)}")
print(f"of the learned prior        {spelled(learned[0].truth, learned[1].truth)}")
for name, table in tables.items():
    estimate = table.estimate.to_numpy().reshape(2, 2)
    word = "yes *" if runs[name].attrs["exact"] else "no"
    worst = f"{table.error_sd.max():8.3f} ({table.error_mcse.max():.1f})"
    print(f"{name:20s}  {word:5s} {spelled(*estimate)}  {worst}")
print(f"* for the learned prior's posterior: worst error there {own_error:.1f} mcses")

# %%
# The figure: draws from the prior, the learned density, and the posteriors.
figure, axes = plt.subplots(1, 4, figsize=(16, 4.2), layout="constrained")
shown = {"aspect": "auto", "xlim": (-32, 32), "ylim": (-8, 28), "xlabel": "x[0]"}
axes[0].plot(*earlier[:4_000].T, ".", markersize=1.5, color="#888888")
axes[0].set(title="what is known of the prior", ylabel="x[1]", **shown)
true_density, learned_density = normalised(log_true), normalised(log_learned)
levels = true_density.max() * np.array([0.01, 0.1, 0.4, 0.8])
axes[1].contourf(*sides, learned_density.T, levels=[*levels, 2 * levels[-1]], cmap="Blues")
axes[1].contour(*sides, true_density.T, levels=levels, colors="#cc3311", linewidths=0.8)
axes[1].set(title="learned density (lines: the true one)", **shown)
near = {"aspect": "auto", "xlim": (-16, 20), "ylim": (-7, 12), "xlabel": "x[0]"}
levels = exact_mass.max() * np.array([0.01, 0.1, 0.4, 0.8])
colors = dict(zip(runs, ("#4477aa", "#228833", "#ee7733", "#aa3377"), strict=True))
points = runs["energy, MALA"].posterior.x.values.reshape(-1, 2)[::8]
axes[2].plot(*points.T, ".", markersize=1.5, color=colors["energy, MALA"])
axes[2].contour(*sides, exact_mass.T, levels=levels, colors="#cc3311", linewidths=0.8)
axes[2].set(title="posterior: MALA (lines: exact)", **near)
for name, dt in runs.items():
    bins = np.linspace(-16, 20, 46)
    heights, _ = np.histogram(dt.posterior.x.values[..., 0], bins, density=True)
    axes[3].stairs(heights, bins, color=colors[name], label=name)
marginal = exact_mass.sum(1) / (sides[0][1] - sides[0][0])
axes[3].plot(sides[0], marginal, color="black", linewidth=1, label="exactly")
axes[3].set(title="posterior of x[0]", xlabel="x[0]", ylabel="density", xlim=(-16, 20))
axes[3].legend(fontsize=8, loc="upper left")
axes[3].set_ylim(0, 0.17)
figure.savefig("learned_prior.png", dpi=120)
print("\npicture: learned_prior.png")
