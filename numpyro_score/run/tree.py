"""Draws as an ArviZ `DataTree`, by ArviZ's own NumPyro converter.

ArviZ names the statistics, takes dimensions from the model's plates, and adds the observed data and
the log likelihood; this file hands it draws that did not come from `numpyro.infer.MCMC`.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import arviz as az
import jax
import numpy as np
import xarray as xr
from arviz_base.io_numpyro import NumPyroInferenceAdapter
from jaxtyping import Float, Shaped
from numpyro.infer import BarkerMH
from numpyro.infer.mcmc import MCMCKernel


class Draws(NumPyroInferenceAdapter):
    """Draws and statistics of a batch of chains, as ArviZ's converter wants them.

    Parameters
    ----------
    kernel
        The NumPyro kernel that made them.
    samples
        Variable name (or any pytree) -> draws `(chain, draw, ...)`.
    stats
        Field name -> values `(chain, draw, ...)`.
    args, kwargs
        What the model is called with.
    """

    def __init__(
        self,
        kernel: MCMCKernel,
        samples: Any,
        stats: dict[str, Shaped[np.ndarray, "chain draw ..."]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        super().__init__(
            None,
            model=getattr(kernel, "model", None),  # type: ignore[arg-type]  # may be None
            model_args=args,
            model_kwargs=dict(kwargs),
            sample_shape=jax.tree.leaves(samples)[0].shape[:2],
        )
        self._samples = samples
        self._stats = stats
        # read by the converter, which derives the tree depth of NUTS from it
        self._max_tree_depth = getattr(kernel, "_max_tree_depth", None)
        self.posterior = self

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
    kernel: MCMCKernel, stats: dict[str, Shaped[np.ndarray, "chain draw ..."]]
) -> dict[str, Shaped[np.ndarray, "chain draw ..."]]:
    """Statistics with `num_grad` and `num_logdensity` filled in for NumPyro's own kernels."""
    if "num_grad" in stats:
        return stats
    if "num_steps" in stats:
        num_grad = stats["num_steps"].astype(np.int32)
    elif isinstance(kernel, BarkerMH):
        num_grad = np.ones_like(next(iter(stats.values())), dtype=np.int32)
    else:
        return stats
    return {**stats, "num_grad": num_grad, "num_logdensity": np.zeros_like(num_grad)}


def _without_empty(dataset: xr.Dataset) -> xr.Dataset:
    """Leave out variables without values: a `numpyro.factor` counts as an observed site."""
    return dataset.drop_vars([str(name) for name, x in dataset.items() if x.size == 0])


def to_tree(
    kernel: MCMCKernel,
    posterior: tuple[Any, dict[str, Any]] | None,
    warmup: tuple[Any, dict[str, Any]] | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    log_likelihood: bool,
    attrs: Mapping[str, str | int | Float[np.ndarray, ""] | float],
) -> xr.DataTree:
    """`DataTree` of a run.

    Parameters
    ----------
    kernel
        The NumPyro kernel.
    posterior, warmup
        `(samples, stats)` of the two phases, or None for one without draws.
    args, kwargs
        What the model was called with.
    log_likelihood
        Whether to compute the pointwise log likelihood.
    attrs
        Attributes of the root: how the draws came about.
    """
    groups: dict[str, xr.Dataset] = {}
    for prefix, draws in (("", posterior), ("warmup_", warmup)):
        if draws is None:
            continue
        samples, stats = draws
        adapter = Draws(kernel, samples, with_gradient_count(kernel, stats), args, kwargs)
        with warnings.catch_warnings():
            # the axes are what they are called, also where chains outnumber draws
            warnings.filterwarnings("ignore", "Found chain dimension to be longer")
            tree = az.from_numpyro(adapter, log_likelihood=log_likelihood and not prefix)
        for name, group in tree.children.items():
            if not prefix or name in ("posterior", "sample_stats"):
                groups[prefix + name] = _without_empty(group.to_dataset())
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(attrs)
    return tree
