"""`sample`: any NumPyro kernel, at the speed of a compiled scan, with a progress bar."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.memory import Memory
from numpyro_score.run.program import (
    Buffers,
    Constants,
    Program,
    field,
    init,
    make_buffers,
    run_chunk,
    runs_batches,
)
from numpyro_score.run.progress import Bar
from numpyro_score.run.tree import SAMPLING, WARMUP, Chunk, Converter
from numpyro_score.types import RngKey

CHUNK_SECONDS = 0.5
"""How long the host leaves the device alone between two looks at the progress."""

FIRST_CHUNK = 10
"""Draws of the first chunk, from which the pace is told."""

BUFFER_BYTES = 2**26
"""Room for the draws of one chunk, at most."""

STATISTICS = (
    "potential_energy",
    "accept_prob",
    "diverging",
    "num_steps",
    "energy",
    "num_grad",
    "num_logdensity",
    "adapt_state.step_size",
)
"""Fields that are kept where a kernel's state has them."""


def sample(
    kernel: MCMCKernel,
    rng_key: RngKey,
    *,
    num_warmup: int,
    num_samples: int,
    num_chains: int,
    model_args: tuple[Any, ...] = (),
    model_kwargs: Mapping[str, Any] | None = None,
    thinning: int = 1,
    extra_fields: Sequence[str] = (),
    init_params: Any = None,
    keep_warmup: bool = True,
    log_likelihood: bool = False,
    progress: bool = True,
) -> xr.DataTree:
    """Run a kernel and return all it drew, warmup included.

    Chains run as one batch. The draws do not depend on how the run is cut into chunks.

    Parameters
    ----------
    kernel
        Any `numpyro.infer.mcmc.MCMCKernel`: ours, NumPyro's, or another package's.
    rng_key
        One key.
    num_warmup, num_samples
        Steps of the two phases; thinning does not lengthen them.
    num_chains
        Chains, at least 1.
    model_args, model_kwargs
        What the model is called with.
    thinning
        Every `thinning`-th draw is kept, of the warmup too.
    extra_fields
        Further fields of the kernel's state to keep, dots for nested ones.
    init_params
        Starting points in unconstrained coordinates, with a leading chain axis.
    keep_warmup
        Whether to keep `warmup_posterior` and `warmup_sample_stats`.
    log_likelihood
        Whether to add the pointwise log likelihood, for `az.loo` and `az.psense`.
    progress
        Whether to show a progress bar.

    Returns
    -------
    DataTree
        Groups `posterior`, `sample_stats`, `warmup_posterior`, `warmup_sample_stats`,
        `observed_data`, `log_likelihood`, as `arviz.from_numpyro` makes them. Attributes of the
        root say how it was made: `sampler`, `exact` (1 if the draws' law is the target), `complete`
        (0 after an interrupt), `num_restarts`, and seconds spent compiling, in warmup and sampling.

    Raises
    ------
    ValueError
        If a length is not positive, a field is unknown, or the start is not usable.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro_score.infer import MALA
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0))
    >>> dt = sample(
    ...     MALA(model),
    ...     jax.random.key(0),
    ...     num_warmup=100,
    ...     num_samples=50,
    ...     num_chains=4,
    ...     progress=False,
    ... )
    >>> dict(dt.posterior.sizes), dt.attrs["exact"]
    ({'chain': 4, 'draw': 50}, 1)
    """
    _check_lengths(num_warmup, num_samples, num_chains, thinning)
    model_kwargs = dict(model_kwargs or {})
    began = time.perf_counter()
    program = Program(
        kernel, Constants(model_args, model_kwargs), (), thinning, not runs_batches(kernel)
    )
    state = init(program, jax.random.split(rng_key, num_chains), num_warmup, init_params)
    program = program._replace(fields=_fields(kernel, state, extra_fields))
    num_rows = max(num_warmup, num_samples) // thinning
    buffers = make_buffers(program, state, _rows_that_fit(program, state, num_rows))
    state, buffers = jax.block_until_ready(run_chunk(program, state, buffers, jnp.asarray(0)))
    seconds = {"compile": time.perf_counter() - began}

    rows = {WARMUP: num_warmup // thinning, SAMPLING: num_samples // thinning}
    converter = Converter(kernel, model_args, model_kwargs, log_likelihood=log_likelihood)
    sink = Memory(converter)
    is_complete = False
    with Bar(sum(rows.values()) * thinning, 0, is_shown=progress) as bar:
        try:
            pace = float(FIRST_CHUNK)
            for phase in rows:
                began = time.perf_counter()
                done = 0
                while done < rows[phase]:
                    now = min(rows[phase] - done, max(int(pace), 1), _capacity(buffers))
                    start = time.perf_counter()
                    state, buffers = run_chunk(program, state, buffers, jnp.asarray(now))
                    chunk = _to_host(kernel, buffers, phase, done, now)
                    # grow gently: the first steps of NUTS are not those of its warmed-up self
                    elapsed = time.perf_counter() - start
                    pace = min(now * CHUNK_SECONDS / max(elapsed, 1e-6), 4 * pace)
                    done += now
                    if keep_warmup or phase == SAMPLING:
                        sink.add(chunk, state)
                    bar.update(chunk, now * thinning)
                seconds[phase] = time.perf_counter() - began
            is_complete = True
        except KeyboardInterrupt:
            bar.say("interrupted: returning the draws so far (attribute complete=0)")
    return sink.finish(_attributes(kernel, state, num_warmup, num_chains, seconds, is_complete))


def _check_lengths(num_warmup: int, num_samples: int, num_chains: int, thinning: int) -> None:
    lengths = {
        "num_warmup": (num_warmup, 0),
        "num_samples": (num_samples, 1),
        "num_chains": (num_chains, 1),
        "thinning": (thinning, 1),
    }
    for name, (value, least) in lengths.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"{name} is {value!r}, but must be a whole number of at least {least}."
            )
    if num_samples < thinning:
        raise ValueError(
            f"thinning={thinning} keeps none of num_samples={num_samples} draws; thin less."
        )


def _fields(kernel: MCMCKernel, state: Any, extra_fields: Sequence[str]) -> tuple[str, ...]:
    """The draw, the kernel's default fields, known statistics, and what was asked for."""
    for name in extra_fields:
        if not _has(state, name):
            known = ", ".join(getattr(state, "_fields", ()))
            raise ValueError(f"the kernel's state has no field {name!r}; it has {known}.")
    known_here = [name for name in STATISTICS if _has(state, name)]
    names = [kernel.sample_field, *kernel.default_fields, *known_here, *extra_fields]
    return tuple(dict.fromkeys(names))


def _has(state: Any, name: str) -> bool:
    try:
        return field(state, name) is not None
    except AttributeError:
        return False


def _rows_that_fit(program: Program, state: Any, num_rows: int) -> int:
    """Rows of the buffers: all, if they fit; a power of two, to compile less often."""
    row = jax.eval_shape(lambda s: {name: field(s, name) for name in program.fields}, state)
    row_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(row))
    rows = min(num_rows, max(BUFFER_BYTES // max(row_bytes, 1), 1))
    return 2 ** (max(rows, 1) - 1).bit_length()


def _capacity(buffers: Buffers) -> int:
    return len(jax.tree.leaves(buffers.fields)[0])


def _to_host(kernel: MCMCKernel, buffers: Buffers, phase: str, first: int, num_rows: int) -> Chunk:
    """The buffers' first rows as a chunk; sliced here, since on the device every length compiles."""

    def rows(x: jax.Array) -> np.ndarray:
        return np.swapaxes(np.asarray(x)[:num_rows], 0, 1).copy()

    samples, fields = jax.tree.map(rows, (buffers.constrained, buffers.fields))
    stats = {name: values for name, values in fields.items() if name != kernel.sample_field}
    return Chunk(phase, first, samples, stats)


def _attributes(
    kernel: MCMCKernel,
    state: Any,
    num_warmup: int,
    num_chains: int,
    seconds: Mapping[str, float],
    is_complete: bool,
) -> dict[str, Any]:
    attrs: dict[str, Any] = {
        "sampler": type(kernel).__name__,
        "exact": int(getattr(kernel, "exact", True)),
        "complete": int(is_complete),
        "num_warmup": num_warmup,
        "num_chains": num_chains,
        **{f"seconds_{name}": value for name, value in seconds.items()},
    }
    target = getattr(kernel, "target_accept_prob", getattr(kernel, "_target_accept_prob", None))
    if target is not None:
        attrs["target_accept_prob"] = float(target)
    if _has(state, "adapt_state.warmup.num_restarts"):
        attrs["num_restarts"] = int(field(state, "adapt_state.warmup.num_restarts").sum())
    return attrs
