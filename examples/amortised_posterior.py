"""
Learn a posterior once, use it for every data set
=================================================

A posterior given any data is learned from simulations of a model: eight schools, whose parameters
and estimates are drawn from the prior and the likelihood. For a new data set its draws take
milliseconds, and are approximate. ``as_kernel`` makes of it a kernel whose draws are exact, without
training: draws of the learned posterior are proposed, and Metropolis-Hastings corrects them.
"""

import sys
import time

import jax
import numpy as np
from matplotlib import pyplot as plt
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score.targets import eight_schools

SHORT = "--short" in sys.argv
NUM_SETS = 3 if SHORT else 50
KEY = jax.random.key(0)

# %%
# The model is called as for a run: the sites that are observed in this call are the data. Their
# values do not matter here.
target = eight_schools()
began = time.perf_counter()
posterior = ns.fit_posterior(
    target.model,
    jax.random.key(1),
    model_args=target.model_args,
    model_kwargs=target.model_kwargs,
    num_simulations=2000 if SHORT else 20_000,
    num_steps=200 if SHORT else 3000,
    num_flow_steps=8,
    width=64,
    progress=False,
)
seconds_training = time.perf_counter() - began
print(f"{len(posterior.sites)} sites learned in {seconds_training:.0f} s")

# %%
# New data sets, simulated from the model, and the exact kernel for each of them. One kernel serves
# all of them: it reads the data off the model's arguments.
(sigma,) = target.model_args
rng = np.random.default_rng(2)
mu = rng.normal(0, 5, NUM_SETS)
tau = np.abs(5 * rng.standard_cauchy(NUM_SETS))
theta = mu[:, None] + tau[:, None] * rng.normal(size=(NUM_SETS, 8))
data_sets = (theta + sigma * rng.normal(size=theta.shape)).astype(np.float32)


def run(kernel, y, num_chains, num_samples):
    """Mean and Monte Carlo error of `mu`, and the seconds that it took."""
    began = time.perf_counter()
    dt = ns.sample(
        kernel,
        KEY,
        num_warmup=200,
        num_samples=num_samples,
        num_chains=num_chains,
        model_args=(sigma,),
        model_kwargs={"y": y},
        jit_model_args=True,
        progress=False,
    )
    draws = dt.posterior["mu"].values
    ess = float(effective_sample_size(draws))
    error = draws.std() / np.sqrt(ess)
    return draws.mean(), error, time.perf_counter() - began, dt


amortised, rows = posterior.as_kernel(target.model), []
reference = NUTS(target.model)
for y in data_sets:
    corrected = run(amortised, y, 16, 300)
    exact = run(reference, y, 4, 300 if SHORT else 1000)
    approximate = np.asarray(posterior.sample(KEY, y, 4000)["mu"])
    rate = float(corrected[3].sample_stats["global_accept_prob"].mean())
    rows.append((approximate.mean(), *corrected[:3], *exact[:3], rate))

approximate, mean, error, seconds, nuts_mean, nuts_error, nuts_seconds, rate = np.array(rows).T
# the first run of either kernel compiles
away = (mean - nuts_mean) / np.sqrt(error**2 + nuts_error**2)
bias = (approximate - nuts_mean) / np.sqrt(nuts_error**2)
print(f"jumps accepted: {rate.mean():.2f} on average, {rate.min():.2f} at least")
print(f"amortised kernel less NUTS, in standard errors: {np.abs(away).max():.1f} at most")
print(f"seconds a data set: {np.median(seconds[1:]):.2f}, NUTS {np.median(nuts_seconds[1:]):.2f}")

# %%
# What is learned is near the posterior; what the kernel makes of it agrees with NUTS.
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, values, title in (
    (left, approximate, "amortised, approximate"),
    (right, mean, "amortised kernel, exact"),
):
    ax.plot(nuts_mean, values, "o", markersize=4)
    ax.axline((0, 0), slope=1, color="0.6", linewidth=1)
    ax.set(xlabel="posterior mean of mu, NUTS", ylabel="the same", title=title)
figure.savefig("amortised_posterior.png")
print("picture: amortised_posterior.png")
