"""Draws as ArviZ datasets, by ArviZ's own NumPyro converter.

ArviZ names the statistics, takes dimensions from the model's plates, and adds the observed data and
the log likelihood; this file hands it draws that did not come from `numpyro.infer.MCMC`, whole or
a chunk at a time.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import numpyro
import xarray as xr
from arviz_base import dict_to_dataset
from arviz_base.io_numpyro import NumPyroConverter, NumPyroInferenceAdapter, infer_dims
from jaxtyping import Shaped
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import BarkerMH, log_likelihood
from numpyro.infer.initialization import init_to_sample
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.names import stored_name

WARMUP, SAMPLING = "warmup", "sampling"
"""The two phases of a run."""

PREFIX = {WARMUP: "warmup_", SAMPLING: ""}
"""Phase -> prefix of its groups."""


class Chunk(NamedTuple):
    """Draws of all chains in consecutive steps of one phase, on the host.

    Attributes
    ----------
    phase
        `WARMUP` or `SAMPLING`.
    first
        Number of the first draw within the phase.
    samples
        Constrained draws, a dict of sites or any pytree, each `(chain, draw, ...)`.
    stats
        Field name -> values `(chain, draw, ...)`.
    """

    phase: str
    first: int
    samples: Any
    stats: dict[str, Shaped[np.ndarray, "chain draw ..."]]

    @property
    def num_draws(self) -> int:
        """Draws of each chain."""
        return jax.tree.leaves(self.samples)[0].shape[1]


def join(chunks: list[Chunk]) -> Chunk:
    """Consecutive chunks of one phase as one."""

    def joined(*parts: np.ndarray) -> np.ndarray:
        # row by row, as they are in memory
        return np.swapaxes(np.concatenate([np.swapaxes(x, 0, 1) for x in parts]), 0, 1)

    parts = [(chunk.samples, chunk.stats) for chunk in chunks]
    samples, stats = jax.tree.map(joined, *parts)
    return Chunk(chunks[0].phase, chunks[0].first, samples, stats)


class ChunkAdapter(NumPyroInferenceAdapter):
    """A chunk as ArviZ's converter wants it; without a model it converts the draws alone."""

    def __init__(
        self, chunk: Chunk, kernel: MCMCKernel, model: Any, args: Any, kwargs: Any, thinning: int
    ) -> None:
        shape = jax.tree.leaves(chunk.samples)[0].shape[:2]
        super().__init__(self, model, args, kwargs, shape)
        samples = chunk.samples
        # the converter adds an axis to the arrays of a named tuple
        self._samples = samples._asdict() if hasattr(samples, "_asdict") else samples
        self._stats = with_gradient_count(kernel, chunk.stats, thinning)
        # read by the converter, which derives the tree depth of NUTS from it
        self._max_tree_depth = getattr(kernel, "_max_tree_depth", None)

    @property
    def sample_dims(self) -> list[str]:
        """Names of the leading axes."""
        return ["chain", "draw"]

    def get_samples(self, seed: int | None = None, **kwargs: Any) -> Any:
        """Draws `(chain, draw, ...)` of every variable."""
        del seed, kwargs
        return self._samples

    def get_sample_stats(self, **kwargs: Any) -> dict[str, Any]:
        """Statistics `(chain, draw, ...)`."""
        del kwargs
        return self._stats


def with_gradient_count(
    kernel: MCMCKernel, stats: dict[str, Shaped[np.ndarray, "chain draw ..."]], thinning: int
) -> dict[str, Shaped[np.ndarray, "chain draw ..."]]:
    """Statistics with `num_grad` and `num_logdensity` filled in for NumPyro's own kernels.

    Those do not count: each of the `thinning` steps of a kept draw is taken to cost what the last
    one did.
    """
    if not stats or "num_grad" in stats:
        return stats
    if "num_steps" in stats:
        num_grad = thinning * stats["num_steps"].astype(np.int32)
    elif isinstance(kernel, BarkerMH):
        num_grad = np.full_like(next(iter(stats.values())), thinning, dtype=np.int32)
    else:
        return stats
    return {**stats, "num_grad": num_grad, "num_logdensity": np.zeros_like(num_grad)}


def observed_values(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Values of a model's observed sites.

    The model is traced, and what it computes of its arguments is evaluated by one program. A value
    that is observed as it was given is returned as it was given.
    """
    seeded = substitute(seed(model, 0), substitute_fn=init_to_sample)
    order: list[str] = []
    given: dict[str, Any] = {}

    def compute() -> dict[str, Any]:
        sites = trace(seeded).get_trace(*args, **kwargs)
        values = {
            name: site["value"]
            for name, site in sites.items()
            # numpyro.factor is an observed site of no size
            if site["type"] == "sample" and site["is_observed"] and np.size(site["value"])
        }
        traced = {k: v for k, v in values.items() if isinstance(v, jax.core.Tracer)}
        order[:] = values
        given.update({k: v for k, v in values.items() if k not in traced})
        return traced

    computed = jax.jit(compute)() if (shapes := jax.eval_shape(compute)) else shapes
    return {name: np.asarray({**given, **computed}[name]) for name in order}


class Converter:
    """Chunks of one run to ArviZ groups.

    Parameters
    ----------
    kernel
        The NumPyro kernel.
    args, kwargs
        What its model is called with.
    with_log_likelihood
        Whether to compute the pointwise log likelihood of the draws that are reported.
    thinning
        Kernel steps a kept draw.
    """

    def __init__(
        self,
        kernel: MCMCKernel,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        with_log_likelihood: bool,
        thinning: int,
    ) -> None:
        self._kernel = kernel
        self._thinning = thinning
        self._model = getattr(kernel, "model", None)
        self._args, self._kwargs = args, dict(kwargs)
        self.with_log_likelihood = with_log_likelihood and self._model is not None
        self._observed: dict[str, xr.Dataset] | None = None
        # read off the model once, not once a chunk
        self._dims = infer_dims(self._model, args, self._kwargs) if self._model else None

    @property
    def dims(self) -> dict[str, list[str]]:
        """Site -> names of its plates and of its own dimensions, where it has any."""
        return self._dims or {}

    def check_log_likelihood(self, chunk: Chunk) -> None:
        """Refuse a log likelihood that cannot be computed; nothing is evaluated.

        Raises
        ------
        ValueError
            If NumPyro cannot compute it.
        """
        if not self.with_log_likelihood:
            return
        try:
            jax.eval_shape(
                lambda samples: log_likelihood(
                    self._model, samples, *self._args, batch_ndims=2, **self._kwargs
                ),
                chunk.samples,
            )
        except Exception as error:
            found = str(error) or "it says nothing more"
            raise ValueError(
                "log_likelihood=True, but numpyro.infer.log_likelihood fails on this model "
                f"({type(error).__name__}: {found}). It cannot be computed where discrete sites "
                "are summed out: leave it out, or sum them out in the model (for instance with "
                "numpyro.distributions.MixtureSameFamily)."
            ) from error

    def _convert(self, chunk: Chunk, model: Any, **options: Any) -> Any:
        """ArviZ's converter of a chunk; its methods, one a group, carry no types."""
        draws = ChunkAdapter(chunk, self._kernel, model, self._args, self._kwargs, self._thinning)
        return NumPyroConverter(posterior=draws, dims=self._dims, pred_dims=self._dims, **options)

    def groups(self, chunk: Chunk) -> dict[str, xr.Dataset]:
        """The groups of a chunk's phase by name, with the draws numbered from the phase's start."""
        prefix = PREFIX[chunk.phase]
        padded = _padded(chunk)
        converter = self._convert(padded, None)
        groups = {
            f"{prefix}posterior": converter.posterior_to_xarray(),
            f"{prefix}sample_stats": converter.sample_stats_to_xarray(),
        }
        if self.with_log_likelihood and chunk.phase == SAMPLING:
            converter = self._convert(padded, self._model, log_likelihood=True)
            groups["log_likelihood"] = converter.log_likelihood_to_xarray()
        rows = {"draw": slice(chunk.num_draws)}
        numbers = np.arange(chunk.first, chunk.first + chunk.num_draws)
        return {
            name: _without_slashes(
                dataset.isel(rows).assign_coords(draw=numbers)
                if "draw" in dataset.dims
                else dataset
            )
            for name, dataset in groups.items()
        }

    def posterior(self, chunk: Chunk) -> xr.Dataset:
        """The draws of a chunk alone."""
        dataset = self._convert(_padded(chunk), None).posterior_to_xarray()
        return _without_slashes(dataset.isel(draw=slice(chunk.num_draws)))

    def observed(self, chunk: Chunk) -> dict[str, xr.Dataset]:
        """The model's data as a group, none if it has none."""
        if self._observed is None:
            self._observed = self._find_observed(chunk)
        return self._observed

    def _find_observed(self, chunk: Chunk) -> dict[str, xr.Dataset]:
        if self._model is None:
            return {}
        values = observed_values(self._model, self._args, self._kwargs)
        dims: Any = self.dims  # a dict is invariant in the types that ArviZ asks for
        observed = dict_to_dataset(values, inference_library=numpyro, dims=dims, sample_dims=[])
        return {"observed_data": _without_slashes(observed)} if observed.data_vars else {}


def _padded(chunk: Chunk) -> Chunk:
    """The chunk with the last draw repeated, so that there are as many draws as chains.

    ArviZ warns of fewer. The warning cannot be caught: stores are written by a thread, and filters
    of warnings are those of the whole process.
    """
    leaves = jax.tree.leaves((chunk.samples, chunk.stats))
    missing = max((x.shape[0] - chunk.num_draws for x in leaves), default=0)
    if missing <= 0:
        return chunk

    def pad(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, np.repeat(x[:, -1:], missing, axis=1)], axis=1)

    samples, stats = jax.tree.map(pad, (chunk.samples, chunk.stats))
    return chunk._replace(samples=samples, stats=stats)


def _without_slashes(dataset: xr.Dataset) -> xr.Dataset:
    names = [str(name) for name in (*dataset.variables, *dataset.dims) if "/" in str(name)]
    return dataset.rename({name: stored_name(name) for name in names}) if names else dataset


def plain_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as files hold them: NumPy's numbers as Python's, None left out."""
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in attrs.items()}
    return {name: value for name, value in plain.items() if value is not None}
