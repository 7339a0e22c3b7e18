"""
Six samplers on two targets
===========================

Which kernel is best is a question about the target. Two of them are set against six kernels: a
Gaussian that lies askew, and two modes with nothing between them, of weights .2 and .8 (those of
Song and Ermon 2019, arXiv:1907.05600). Each kernel has the same number of chains, of warmup steps
and of draws; what it costs is counted, and what is known of the targets says who is right.
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
# A kernel is a function from a model to a kernel, since each target needs its own. The first four
# are *local*: a move ends near where it began. The other two anneal from a wide law, a Gaussian of
# standard deviation 10 here: parallel tempering runs replicas at many temperatures, which exchange
# places (Geyer 1991), and stays exact; tempered sequential Monte Carlo moves a population down the
# temperatures (Del Moral, Doucet and Jasra 2006, doi:10.1111/j.1467-9868.2006.00553.x), and is
# approximate: a population of finite size is off by about one over its size.
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
# How to read the table. *Exact* is what theory says of the kernel, *converged* what its draws say:
# R-hat of at most 1.01, and effective draws (ESS) enough. Gradients are those of all chains, of the
# warmup, and of what a kernel learns before its first step (parallel tempering its temperatures,
# for so many seconds). Errors are the worst of all known means in Monte Carlo errors: above 4 or so
# is a wrong answer. Below that it is right only if the chains have converged, since the Monte Carlo
# error of chains that do not agree is a guess. On the askew target a dense preconditioner pays. On
# two modes the chains of a local kernel disagree, or all are in one mode: converged, and wrong.
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
# The weight of the larger mode, .8 in truth, with its Monte Carlo error. A local chain stays in the
# mode that it is in when warmup ends, so that a local kernel's weight is the share of its chains
# that are there, a few of a few. Where by chance all are in one mode R-hat and effective sample
# sizes have nothing to complain of, and only the truth, or a kernel that crosses, tells.
errors = comparison.errors
weights = errors[errors.quantity == "mode_weight(x)[1]"].set_index("kernel")
print("weight of the larger mode (mcse), exactly 0.8")
for kernel, row in weights.iterrows():
    print(f"{kernel:18s}  {row.estimate:.3f} ({row.mcse:.3f})")

# %%
# All of it as a page, with a verdict for each run, its pictures, and error against cost.
if not SHORT:
    page = comparison.to_html("compare_samplers.html", progress=False)
    print(f"\nreport: {page.name}")

# %%
# The picture: how errors fell as the runs went on, by what they had cost by then (a gradient counts
# as two evaluations). A sampler that works falls like one over the root of the cost; one that is
# stuck stays where it is.
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
