"""
Six samplers on two targets
===========================

The best kernel depends on the target. This example compares six kernels on two targets: a
correlated Gaussian, and two separated modes of weights .2 and .8 (those of Song and Ermon 2019,
arXiv:1907.05600). All kernels have the same numbers of chains, warmup steps and draws. Their costs
are counted, and their errors are measured against known expectations.
"""

import sys

import jax
import numpy as np
from matplotlib import pyplot as plt
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score.targets import ill_gaussian, two_modes

SHORT = "--short" in sys.argv
NUM_CHAINS, NUM_WARMUP, NUM_DRAWS = (4, 500, 1_000) if SHORT else (8, 500, 4_000)

# %%
# A kernel is given as a function from a model to a kernel, since each target needs its own. The
# first four are *local*: they make small moves. The other two use tempering from a wide reference
# distribution, here a Gaussian of standard deviation 10. Parallel tempering runs replicas at
# several temperatures, which exchange positions (Geyer 1991), and is exact. Tempered sequential
# Monte Carlo moves a population through the temperatures (Del Moral, Doucet and Jasra 2006,
# doi:10.1111/j.1467-9868.2006.00553.x), and is approximate, with a bias of the order of one over
# the size of the population.
kernels = {
    "random walk": ns.RandomWalkMetropolis,
    "MALA": ns.MALA,
    "MALA, dense": lambda model: ns.MALA(model, dense_mass=True),
    "NUTS": NUTS,
    "parallel tempering": lambda model: ns.ParallelTempering(model, num_particles=256),
    "tempered SMC": lambda model: ns.TemperedSMC(model, num_particles=500),
}
local = list(kernels)[:4]
askew, modes = ill_gaussian(5, 1e3, rotated=True), two_modes()
comparison = ns.compare(
    kernels,
    [askew, modes],
    jax.random.key(0),
    num_warmup=NUM_WARMUP,
    num_samples=NUM_DRAWS,
    num_chains=NUM_CHAINS,
    progress=False,
)

# %%
# How to read the table. *Exact* is a property of the kernel, *converged* of its draws: R-hat of
# at most 1.01, and a sufficient effective sample size (ESS). Gradients are those of all chains, of
# warmup, and of what a kernel learns before its first step (parallel tempering learns its
# temperatures, in the given number of seconds). The error is the largest over all known means, in
# Monte Carlo standard errors. Above about 4 the answer is wrong. A smaller value is reliable only
# if the chains have converged, since otherwise the Monte Carlo error is not known. On the
# correlated target a dense preconditioner helps. On two modes the chains of a local kernel
# disagree, or all are in one mode: converged, but wrong.
table = comparison.table
words = {True: "yes", False: "no"}
for target in (askew, modes):
    print(f"{target.name}: {target.description}")
    print(
        "sampler             exact  converged   R-hat  bulk ESS   gradients  densities  learning, s"
        "  per 1000 evaluations  error"
    )
    for kernel, row in table.loc[target.name].iterrows():
        print(
            f"{kernel:18s}  {words[row.exact]:5s}  {words[row.converged]:9s}  {row.rhat:6.3f} "
            f"{row.ess_bulk:9.0f} {row.num_grad:11,.0f} {row.num_logdensity:10,.0f} "
            f"{np.nan_to_num(row.seconds_training):12.1f}  {1e3 * row.ess_per_evaluation:20.2f}  "
            f"{row.mean_error_mcse:5.1f}"
        )
    print()

# %%
# The weight of the larger mode, whose true value is .8, with its Monte Carlo error. A local chain
# stays in the mode in which warmup ends, so that the weight is the share of chains in that mode. If
# by chance all chains are in one mode, R-hat and effective sample size show no problem. Only the
# truth, or a kernel that crosses between modes, reveals it.
errors = comparison.errors
weights = errors[errors.quantity == "mode_weight(x)[1]"].set_index("kernel")
print("weight of the larger mode (mcse), exactly 0.8")
for kernel, row in weights.iterrows():
    print(f"{kernel:18s}  {row.estimate:.3f} ({row.mcse:.3f})")

# %%
# All results as a page, with a verdict and figures for each run, and error against cost.
if not SHORT:
    page = comparison.to_html("compare_samplers.html", progress=False)
    print(f"\nreport: {page.name}")

# %%
# The figure: error against cost during the runs (a gradient counts as two evaluations). For a
# sampler that mixes, the error decreases like the inverse square root of the cost; for one that is
# stuck it stays constant.
figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
for axis, target in zip(axes, (askew, modes), strict=False):
    curves = comparison.curves[comparison.curves.target == target.name]
    for kernel in kernels:
        curve = curves[curves.kernel == kernel]
        style = "o-" if kernel in local else "s--"
        axis.loglog(curve.evaluations, curve.error_sd, style, markersize=4, label=kernel)
    axis.set(title=target.name, xlabel="evaluations, warmup and learning included")
    axis.set_ylabel("root mean square error, in sds")
axes[0].legend(fontsize=8)
rows = np.arange(len(kernels))
axes[2].errorbar(weights.estimate, rows, xerr=2 * weights.mcse, fmt="o", color="#4477aa", capsize=3)
axes[2].axvline(0.8, color="black", linestyle=":", label="truth")
axes[2].set_yticks(rows, list(weights.index))
axes[2].invert_yaxis()
axes[2].set(title="two modes", xlabel="weight of the larger mode, ± 2 mcse")
axes[2].legend()
figure.savefig("compare_samplers.png", dpi=120)
print("picture: compare_samplers.png")
