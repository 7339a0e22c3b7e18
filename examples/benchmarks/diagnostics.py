"""Diagnostics against arviz-stats on the same draws, and what the Stein discrepancy costs.

    python examples/benchmarks/diagnostics.py [mixing] [start] [rstar] [ksd]

64 chains of 10,000 draws of 100 variables. Every row compares two things that run in turn in one
process, medians over REPEATS turns. `mixing`: all of `mixing` but R* against arviz-stats' bulk ESS,
R-hat and MCSE of the mean. `start`: MSER-5, Geweke and the autocorrelation time together against
arviz-stats' ESS. `rstar`: seconds of R* alone. `ksd`: the Stein discrepancy of 20,000 draws in 20
dimensions, with its bootstrap, in a separate process, with its peak memory.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy.signal import lfilter

from numpyro_score.diagnostics import mixing as diagnose_mixing
from numpyro_score.diagnostics.autocorrelation import autocorrelation_time
from numpyro_score.diagnostics.geweke import geweke, stationary_error
from numpyro_score.diagnostics.mser import mser
from numpyro_score.diagnostics.rstar import rstar as compute_rstar
from numpyro_score.diagnostics.rstar import thinning

CHAINS, DRAWS, VARIABLES = 64, 10_000, 100
COEFFICIENT = 0.5
REPEATS = 5
KSD_DRAWS, KSD_DIM = 20_000, 20


def draws() -> np.ndarray:
    """Autoregressive draws `(variable, chain, draw)`: each variable lies in one piece of memory."""
    noise = np.random.default_rng(0).normal(size=(VARIABLES, CHAINS, DRAWS))
    return lfilter([1.0], [1.0, -COEFFICIENT], noise, axis=-1)


def seconds(fn: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    fn()
    return time.perf_counter() - began


def show(work: str, ours: Callable[[], object], other: Callable[[], object]) -> None:
    """A row: median seconds of both, which run in turn, and the ratio."""
    times = [(seconds(ours), seconds(other)) for _ in range(REPEATS)]
    mine, theirs = (statistics.median(t) for t in zip(*times, strict=True))
    print(f"{work:58} {mine:8.2f} {theirs:8.2f} {mine / theirs:8.2f}", flush=True)


def mixing(x: np.ndarray) -> None:
    """All that `mixing` says but R*, against three numbers of arviz-stats."""
    data = xr.Dataset({f"x{i}": (("chain", "draw"), values) for i, values in enumerate(x)})
    dt = xr.DataTree.from_dict({"posterior": data})

    def arviz() -> None:
        for values in x:
            array_stats.ess(values, method="bulk")
            array_stats.rhat(values)
            array_stats.mcse(values, method="mean")

    show("mixing without R*, against ESS, R-hat, MCSE", lambda: mixed(dt), arviz)


def mixed(dt: xr.DataTree) -> xr.Dataset:
    """`mixing` without R*."""
    return diagnose_mixing(dt, with_rstar=False)


def start(x: np.ndarray) -> None:
    """Three estimates of burn-in, against one ESS."""

    def ours() -> None:
        for values in x:
            mser(values)
            geweke(values, np.array([0]), stationary_error(values))
            autocorrelation_time(values)

    def arviz() -> None:
        for values in x:
            array_stats.ess(values, method="bulk")

    show("MSER-5, Geweke, autocorrelation time, against ESS", ours, arviz)


def rstar(x: np.ndarray) -> None:
    """R* alone, of the draws that it uses."""
    thinned = np.moveaxis(x[:, :, :: thinning(CHAINS, DRAWS)], 0, -1)
    times = [seconds(lambda: compute_rstar(thinned)) for _ in range(3)]
    print(f"R* of {thinned.shape[1]} draws a chain: {statistics.median(times):.1f} s", flush=True)


def ksd() -> None:
    """Time and peak memory of the Stein discrepancy."""
    child = [sys.executable, __file__, "child"]
    print(subprocess.run(child, check=True, capture_output=True, text=True).stdout.strip())


def child() -> None:
    """Discrepancies in a process of its own, compilation included."""
    import jax.numpy as jnp

    from numpyro_score.diagnostics.discrepancy.bootstrap import cut
    from numpyro_score.diagnostics.discrepancy.stein import ksd as compute_ksd
    from numpyro_score.diagnostics.discrepancy.stein import whiten

    for num_draws in (KSD_DRAWS, 50_000):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(num_draws, KSD_DIM))

        def compute(x: np.ndarray = x, rng: np.random.Generator = rng) -> float:
            white = whiten(x, -x)
            return compute_ksd(*white, cut(4, len(x) // 4, 1.0), rng).v

        taken = seconds(compute)
        assert jnp.isfinite(compute())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"KSD of {num_draws:,} draws in {KSD_DIM} dimensions: {taken:.1f} s with compilation, "
            f"peak memory {peak:.0f} MiB",
            flush=True,
        )


PARTS = {part.__name__: part for part in (mixing, start, rstar)}


def main() -> None:
    """Print the rows that were asked for, by default all."""
    names = sys.argv[1:] or [*PARTS, "ksd"]
    if names == ["child"]:
        child()
        return
    size = f"{CHAINS} chains x {DRAWS:,} draws x {VARIABLES} variables"
    print(f"{size + ', medians of ' + str(REPEATS):58} {'ours s':>8} {'arviz s':>8} {'ratio':>8}")
    if "ksd" in names:
        ksd()
    if rest := [name for name in names if name != "ksd"]:
        x = draws()
        for name in rest:
            PARTS[name](x)


if __name__ == "__main__":
    main()
