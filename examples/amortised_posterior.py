"""
Learn a posterior once, use it for every data set
=================================================

A posterior given any data is learned from simulations of a model: eight schools, whose parameters
and estimates are drawn from the prior and the likelihood. For a new data set its draws take
milliseconds, and are approximate. ``correct`` makes draws that are exact, for many data sets in one
program: draws of the learned posterior are proposed, and Metropolis-Hastings corrects them.
``as_kernel`` is the same as a kernel, for one data set.
"""

import sys
import time
import warnings

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
# New data sets, simulated from the model. All of them are corrected in one call.
(sigma,) = target.model_args
rng = np.random.default_rng(2)
mu = rng.normal(0, 5, NUM_SETS)
tau = np.abs(5 * rng.standard_cauchy(NUM_SETS))
theta = mu[:, None] + tau[:, None] * rng.normal(size=(NUM_SETS, 8))
data_sets = (theta + sigma * rng.normal(size=theta.shape)).astype(np.float32)

began = time.perf_counter()
with warnings.catch_warnings():
    # where tau is large few data sets were simulated: few draws are effective there
    warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ data sets have fewer", UserWarning)
    corrected = posterior.correct(
        KEY,
        target.model,
        data_sets,
        num_samples=50 if SHORT else 300,
        model_args=target.model_args,
        model_kwargs=target.model_kwargs,
        progress=False,
    )
seconds = (time.perf_counter() - began) / NUM_SETS


def mean_and_error(draws):
    """Posterior mean, and its Monte Carlo standard error."""
    return draws.mean(), draws.std() / np.sqrt(float(effective_sample_size(draws)))


# %%
# NUTS, one data set after the other; the first run compiles.
reference, rows, nuts_seconds = NUTS(target.model), [], []
for i, y in enumerate(data_sets):
    began = time.perf_counter()
    dt = ns.sample(
        reference,
        KEY,
        num_warmup=200,
        num_samples=300 if SHORT else 1000,
        num_chains=4,
        model_args=(sigma,),
        model_kwargs={"y": y},
        jit_model_args=True,
        progress=False,
    )
    nuts_seconds.append(time.perf_counter() - began)
    approximate = np.asarray(posterior.sample(KEY, y, 4000)["mu"])
    own = mean_and_error(corrected.posterior["mu"].values[:, :, i])
    rows.append((approximate.mean(), *own, *mean_and_error(dt.posterior["mu"].values)))

approximate, mean, error, nuts_mean, nuts_error = np.array(rows).T
rate = corrected.sample_stats["jump_acceptance_rate"].values
away = (mean - nuts_mean) / np.sqrt(error**2 + nuts_error**2)
print(f"jumps accepted: {rate.mean():.2f} on average, {rate.min():.2f} at least")
print(f"corrected draws less NUTS, in standard errors: {np.abs(away).max():.1f} at most")
print(f"seconds a data set, compiling included: {seconds:.2f}")
print(f"NUTS: {np.median(nuts_seconds[1:]):.2f}, compiling not included")

# %%
# What is learned is near the posterior; the corrected draws agree with NUTS.
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, values, title in (
    (left, approximate, "amortised, approximate"),
    (right, mean, "corrected, exact"),
):
    ax.plot(nuts_mean, values, "o", markersize=4)
    ax.axline((0, 0), slope=1, color="0.6", linewidth=1)
    ax.set(xlabel="posterior mean of mu, NUTS", ylabel="the same", title=title)
figure.savefig("amortised_posterior.png")
print("picture: amortised_posterior.png")
