"""
Yesterday's posterior as today's prior
======================================

Data come in batches. The posterior given the first batch is the prior for the second, but a
sampler returns draws, not a density. ``LearnedDistribution`` learns a density of the draws, which
is a prior in any NumPyro model. The posterior given both batches is known here from a run on all
data, so that the error of learning can be seen, beside that of a Gaussian with the same moments.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from numpyro.distributions import constraints

import numpyro_score as ns

SHORT = "--short" in sys.argv
KEY = jax.random.key(0)
NAMES = ("intensity", "efficiency")

# %%
# On the first day a detector measures a source: the product of the source's intensity and of the
# detector's efficiency, so that their posterior is a curved ridge. On the second day the intensity
# alone is measured.
TRUTH, NOISE_SD = {"intensity": 2.5, "efficiency": 1.0}, 0.5
MEANS = {
    "first": lambda intensity, efficiency: intensity * efficiency,
    "second": lambda intensity, efficiency: intensity,
}
rng = np.random.default_rng(0)
data = {day: mean(**TRUTH) + NOISE_SD * rng.normal(size=3) for day, mean in MEANS.items()}


def model(days, joint=None):
    """The data of some days, with the first prior or a joint one of both parameters."""
    if joint is None:
        values = {name: numpyro.sample(name, dist.LogNormal(0.0, 1.0)) for name in NAMES}
    else:
        values = joint.split(numpyro.sample("joint", joint))
        for name in NAMES:
            numpyro.deterministic(name, values[name])
    for day in days:
        mean = MEANS[day](**values)
        numpyro.sample(f"y_{day}", dist.Normal(mean, NOISE_SD), obs=jnp.asarray(data[day]))


def run(*args):
    """Draws of both parameters, `(chain, draw)` each, and the run."""
    kernel = ns.MALA(model, dense_mass=True, init_strategy=numpyro.infer.init_to_sample)
    dt = ns.sample(
        kernel,
        KEY,
        num_warmup=400,
        num_samples=300 if SHORT else 1000,
        num_chains=16,
        model_args=args,
        progress=False,
    )
    return {name: dt.posterior[name].values for name in NAMES}, dt


first, first_run = run(("first",))

# %%
# The prior for the second day, learned from the first day's draws. Its support is stated, so that
# no draw and no chain has a negative intensity.
prior = ns.LearnedDistribution.fit(
    {name: x.reshape(-1) for name, x in first.items()},
    rng_key=jax.random.key(1),
    support=dict.fromkeys(NAMES, constraints.positive),
    num_steps=300 if SHORT else 1500,
    num_flow_steps=8,
    progress=False,
)
updated, updated_run = run(("second",), prior)
at_once, _ = run(("first", "second"))

# %%
# For comparison, a Gaussian prior with the mean and covariance of the first day's draws. Its
# posterior is computed on a grid.
points = np.stack([first[name].reshape(-1) for name in NAMES])
mean, precision = points.mean(axis=1), np.linalg.inv(np.cov(points))
grid = np.stack(np.meshgrid(np.linspace(-2, 12, 600), np.linspace(-6, 8, 600), indexing="ij"))
away = grid - mean[:, None, None]
log_p = -0.5 * np.einsum("iab,ij,jab->ab", away, precision, away)
for value in data["second"]:
    log_p = log_p - 0.5 * ((value - grid[0]) / NOISE_SD) ** 2
mass = np.exp(log_p - log_p.max())
mass /= mass.sum()
gaussian_mean = (mass * grid).sum(axis=(1, 2))
gaussian_sd = np.sqrt((mass * grid**2).sum(axis=(1, 2)) - gaussian_mean**2)

print("posterior of both days    intensity      efficiency")
rows = {}
for label, draws in (("all data at once", at_once), ("learned prior", updated)):
    rows[label] = np.array([(draws[name].mean(), draws[name].std()) for name in NAMES])
rows["Gaussian prior"] = np.stack([gaussian_mean, gaussian_sd], axis=1)
for label, values in rows.items():
    print(f"{label:22s}" + "".join(f"{m:8.3f} ±{s:6.3f}" for m, s in values))
exact = rows["all data at once"]
error = {
    label: float(np.abs((values[:, 0] - exact[:, 0]) / exact[:, 1]).max())
    for label, values in rows.items()
}
print("largest error of a mean, in posterior sds:", {k: round(v, 3) for k, v in error.items()})

# %%
# Whether the second day's chains stayed where the prior was learned:
covered = prior.coverage(updated_run, "joint")
print(f"draws outside of the region of the first day's draws: {covered.outside:.3f}")

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharex=True, sharey=True)
for ax, draws, title in (
    (axes[0], first, "yesterday's posterior, today's prior"),
    (axes[1], updated, "today's posterior (grey: all data at once)"),
):
    if ax is axes[1]:
        every = [at_once[name][:, ::10].reshape(-1) for name in NAMES]
        ax.plot(*every, ".", color="0.75", ms=3)
    ax.plot(*(draws[name][:, ::10].reshape(-1) for name in NAMES), ".", color="#4477aa", ms=2)
    ax.set(xlabel=NAMES[0], ylabel=NAMES[1], title=title, xlim=(0, 8), ylim=(0, 6))
figure.savefig("yesterdays_posterior.png", dpi=120)
print("picture: yesterdays_posterior.png")
