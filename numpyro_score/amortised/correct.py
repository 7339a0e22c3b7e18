"""`AmortisedPosterior.correct`: from data sets to a tree of exact draws, with what may be wrong."""

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset
from jaxtyping import Float
from numpyro.diagnostics import effective_sample_size

from numpyro_score.amortised.chains import BLOCK, Corrected, Plan, correct_batch
from numpyro_score.amortised.conditions import by_site
from numpyro_score.checks import check_whole
from numpyro_score.constants import Constants
from numpyro_score.learned.importance import LARGEST_K, quality
from numpyro_score.progress import Bar, ProgressCallback
from numpyro_score.types import RngKey

DATA_SET = "data_set"
"""Name of the dimension of the data sets."""

FEW_DRAWS = 100
"""Effective draws below which a data set is warned of."""


def correct(
    posterior: Any,
    rng_key: RngKey,
    model: Callable[..., Any],
    data: Any,
    *,
    num_samples: int = 300,
    num_warmup: int = 300,
    num_chains: int = 4,
    model_args: tuple[Any, ...] = (),
    model_kwargs: Mapping[str, Any] | None = None,
    batch_size: int = 25,
    progress: bool | ProgressCallback = True,
) -> xr.DataTree:
    """Draws of the posteriors of many data sets; `AmortisedPosterior.correct` calls it.

    Parameters
    ----------
    posterior
        The amortised posterior.
    rng_key
        One key.
    model
        The model, with a density.
    data
        Site -> `(data_set, *shape)`, or an array where there is one site.
    num_samples, num_chains
        Of each data set. A fifth of the draws are states after jumps, the others after local moves.
    num_warmup
        Local moves before the first draw, in which their step size and preconditioner are learned.
    model_args, model_kwargs
        Arguments of the model, including data of the right shapes, which are replaced.
    batch_size
        Data sets in one call of the program; memory is proportional to it.
    progress
        Whether to show a progress bar, or a function to call in its place.

    Raises
    ------
    ValueError
        If data are missing, not finite or of other shapes than the simulations, the model's sites
        differ from those of the posterior, or a number is out of range.

    Warns
    -----
    UserWarning
        If data sets have few effective draws.
    """
    numbers = {
        "num_samples": num_samples,
        "num_chains": num_chains,
        "batch_size": batch_size,
    }
    for name, number in numbers.items():
        check_whole(name, number)
    check_whole("num_warmup", num_warmup, 0)
    sets = _as_sets(posterior, data)
    num = len(next(iter(sets.values())))
    kwargs = dict(model_kwargs or {})
    kernel = posterior.as_kernel(model)
    plan = Plan(
        posterior,
        model,
        Constants(kernel, model_args, kwargs),
        num_chains,
        num_warmup,
        -(-num_samples // BLOCK),
    )
    parts: list[Corrected] = []
    size = min(batch_size, num)
    with Bar(num, progress=progress, phase="data sets") as bar:
        for begin in range(0, num, size):
            # the last batch is as large as the others, so that one program serves all
            rows = np.minimum(begin + np.arange(size), num - 1)
            keys = jax.vmap(lambda row: jax.random.fold_in(rng_key, row))(begin + np.arange(size))
            found = correct_batch(
                plan, posterior.flow, keys, {name: x[rows] for name, x in sets.items()}
            )
            parts.append(jax.device_get(found))
            bar.update(min(size, num - begin))
    whole = jax.tree.map(lambda *x: np.concatenate(x)[:num], *parts)
    return _as_tree(whole, num_samples, is_exact=kernel.exact)


def _as_sets(posterior: Any, data: Any) -> dict[str, np.ndarray]:
    """Data by site, `(data_set, *shape)`."""
    sets = {name: np.asarray(x) for name, x in by_site(posterior.names, data).items()}
    lengths = {np.shape(x)[:1] for x in sets.values()}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        shapes = {name: x.shape for name, x in sets.items()}
        raise ValueError(
            f"the data have shapes {shapes}; give arrays whose first axis is that of the data "
            "sets, of one length above 0"
        )
    bad = [
        i
        for i in range(next(iter(lengths))[0])
        if not all(np.isfinite(x[i]).all() for x in sets.values())
    ]
    if bad:
        raise ValueError(f"the data sets {bad} hold values that are not finite; leave them out")
    # shapes are checked once, before anything is compiled
    jax.eval_shape(posterior.condition, {name: x[0] for name, x in sets.items()})
    return sets


def _as_tree(found: Corrected, num_samples: int, *, is_exact: bool) -> xr.DataTree:
    def rows(x: Any) -> np.ndarray:
        return np.moveaxis(np.asarray(x), 0, 2)[:, :num_samples]

    draws = {name: rows(x) for name, x in found.draws.items()}
    stats = {"lp": rows(found.lp), "acceptance_rate": rows(found.acceptance_rate)}
    log_weights = np.asarray(found.log_weights, np.float64)
    pareto_k = np.array([quality(x[~np.isnan(x)]).pareto_k for x in log_weights])
    about = {
        "pareto_k": pareto_k,
        "jump_acceptance_rate": np.asarray(found.jump_acceptance_rate),
        "local_acceptance_rate": np.asarray(found.local_acceptance_rate),
    }
    warn_if_few(draws, pareto_k)
    dims: dict[Hashable, Sequence[Hashable]] = {name: [DATA_SET] for name in stats}
    of_draws: dict[Hashable, Sequence[Hashable]] = {
        name: [DATA_SET, *(f"{name}_dim_{k}" for k in range(x.ndim - 3))]
        for name, x in draws.items()
    }
    attributes = {"exact": int(is_exact)}
    tree = xr.DataTree.from_dict(
        {
            "posterior": dict_to_dataset(draws, dims=of_draws, attrs=attributes),
            "sample_stats": dict_to_dataset(stats, dims=dims).assign(
                {name: (DATA_SET, x) for name, x in about.items()}
            ),
        }
    )
    tree.attrs.update(attributes)
    return tree


def warn_if_few(draws: Mapping[str, np.ndarray], pareto_k: Float[np.ndarray, " num"]) -> None:
    """Warn of data sets with few effective draws.

    Parameters
    ----------
    draws
        Site -> `(chain, draw, data_set, *shape)`.
    pareto_k
        Of the learned posterior as a proposal, for each data set.
    """
    few = np.full(len(pareto_k), np.inf)
    for x in draws.values():
        effective = effective_sample_size(x).reshape(len(few), -1)
        # what does not vary has no number of effective draws
        few = np.fmin(few, np.nanmin(np.where(np.isnan(effective), np.inf, effective), axis=1))
    poor = int((few < FEW_DRAWS).sum())
    if poor:
        far = int((pareto_k > LARGEST_K).sum())
        warnings.warn(
            f"{poor} of {len(few)} data sets have fewer than {FEW_DRAWS} effective draws of some "
            f"site, data set {int(np.argmin(few))} the fewest ({few.min():.0f}); for {far} the "
            f"learned posterior is far from the posterior (Pareto k above {LARGEST_K}). Raise "
            "num_samples, or run another kernel on these.",
            stacklevel=5,
        )
