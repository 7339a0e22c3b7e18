"""Pairs of parameters and data, from a NumPyro model or from a prior and a simulator."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from numpyro_score.amortised.conditions import as_vector
from numpyro_score.amortised.sites import Site, to_vector
from numpyro_score.progress import Bar, ProgressCallback
from numpyro_score.targets.simulated import simulate
from numpyro_score.types import RngKey

BATCH_SIZE = 1000
"""Simulations in one call of the compiled program."""

SHARE_BAD = 0.1
"""Share of simulations that are not finite above which they are an error instead of left out."""

SIMULATED = "data"
"""Name of the data of a simulator that returns an array."""

Pairs = tuple[Float[np.ndarray, "kept dim"], Float[np.ndarray, "kept size"]]


def from_model(
    model: Callable[..., Any],
    names: tuple[str, ...],
    sites: tuple[Site, ...],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    rng_key: RngKey,
    num: int,
    summary: Callable[..., Any] | None,
    progress: bool | ProgressCallback,
) -> Pairs:
    """Unconstrained parameters and conditions drawn from a model."""

    @jax.jit
    def batch(keys: Any) -> Any:
        def one(key: Any) -> Any:
            truth, data = simulate(model, names, key, args, kwargs)
            return {site.name: truth[site.name] for site in sites}, as_vector(data, summary)

        return jax.vmap(one)(keys)

    size = min(BATCH_SIZE, num)
    parts = []
    with Bar(num, progress=progress, phase="simulations") as bar:
        for index in range(-(-num // size)):
            numbers = index * size + jnp.arange(size)
            keys = jax.vmap(lambda i: jax.random.fold_in(rng_key, i))(numbers)
            parts.append(jax.device_get(batch(keys)))
            bar.update(min(size, num - index * size))
    values = {
        site.name: np.concatenate([part[0][site.name] for part in parts])[:num] for site in sites
    }
    conditions = np.concatenate([part[1] for part in parts])[:num].astype(np.float64)
    return finite_pairs(sites, values, conditions)


def from_simulator(
    simulator: Callable[..., Any],
    prior: Callable[..., Any],
    sites: tuple[Site, ...],
    rng_key: RngKey,
    num: int,
    summary: Callable[..., Any] | None,
    progress: bool | ProgressCallback,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """As `from_model`, from a prior and any Python function, called once per set of parameters.

    Returns
    -------
    Unconstrained parameters, conditions, and the names of the data.

    Raises
    ------
    ValueError
        If the data differ in shape.
    """
    key_prior, key_data = jax.random.split(rng_key)

    @jax.jit
    def parameters(keys: Any) -> Any:
        return jax.vmap(lambda key: simulate(prior, (), key, (), {}).truth)(keys)

    drawn = jax.device_get(parameters(jax.random.split(key_prior, num)))
    values = {site.name: np.asarray(drawn[site.name]) for site in sites}
    keys = list(jax.random.split(key_data, num))
    rows: list[np.ndarray] = []
    first: Any = None
    with Bar(num, progress=progress, phase="simulations") as bar:
        for i in range(num):
            theta = {name: x[i] for name, x in values.items()}
            data = jax.tree.map(np.asarray, simulator(keys[i], theta))
            data = dict(data) if isinstance(data, Mapping) else {SIMULATED: data}
            shapes = {name: np.shape(x) for name, x in data.items()}
            first = shapes if first is None else first
            if summary is None and shapes != first:
                raise ValueError(
                    f"the simulator returned shapes {shapes} for the parameters {theta}, and "
                    f"{first} before; return data of one shape, or give summary=, which makes "
                    "summaries of one length"
                )
            found = data if summary is None else summary(data)
            rows.append(np.concatenate([np.ravel(x) for x in jax.tree.leaves(found)]))
            if len(rows[-1]) != len(rows[0]):
                raise ValueError(
                    f"the summary has length {len(rows[-1])} for the parameters {theta}, and "
                    f"{len(rows[0])} before; return summaries of one length"
                )
            bar.update(1)
    return *finite_pairs(sites, values, np.stack(rows).astype(np.float64)), tuple(first)


def finite_pairs(
    sites: tuple[Site, ...],
    values: Mapping[str, np.ndarray],
    conditions: Float[np.ndarray, "num size"],
) -> Pairs:
    """Unconstrained parameters and conditions, after a check that both are finite.

    Raises
    ------
    ValueError
        If more than a tenth of the data, or all, are not finite.

    Warns
    -----
    UserWarning
        If fewer are not finite; they are left out.
    """
    is_bad = ~np.isfinite(conditions).all(axis=1)
    num_bad = int(is_bad.sum())
    if num_bad:
        example = {name: np.asarray(x)[is_bad][0].tolist() for name, x in values.items()}
        told = (
            f"{num_bad} of {len(is_bad)} simulations returned values that are not finite, the "
            f"first for the parameters {example}"
        )
        if num_bad > SHARE_BAD * len(is_bad):
            raise ValueError(
                f"{told}; fix the simulator, narrow the prior, or return a summary that is finite"
            )
        warnings.warn(
            f"{told}. They are left out: the learned posterior is conditional on finite data.",
            stacklevel=4,
        )
        values = {name: x[~is_bad] for name, x in values.items()}
        conditions = conditions[~is_bad]
    return to_vector(sites, values), conditions
