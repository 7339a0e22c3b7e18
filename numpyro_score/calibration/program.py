"""Simulate, refit and rank: the compiled program that both calibrations use."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.calibration.credible import DENSITY, DISTANCE
from numpyro_score.calibration.ranks import Ranked, rank
from numpyro_score.calibration.refit import Refit
from numpyro_score.calibration.store import BatchStore
from numpyro_score.compilation import compiled_loop
from numpyro_score.progress import Bar, ProgressCallback
from numpyro_score.targets.simulated import JOINT, Simulation, Values
from numpyro_score.types import RngKey


class Plan(NamedTuple):
    """What is refitted and how.

    Attributes
    ----------
    simulate
        `rng_key -> Simulation`.
    bind
        `data -> model` with the data in place of its own.
    refit
        `(rng_key, model, data) -> site -> (chain, draw, *event)`.
    rank_of
        `(rng_key, data, values of one draw) -> quantity -> value`; the key is the same for the
        truth and all draws of a refit.
    is_independent
        Whether draws of a refit are independent.
    """

    simulate: Callable[[Any], Simulation]
    bind: Callable[[Values], Callable[..., Any]]
    refit: Refit
    rank_of: Callable[[Any, Values, Values], Values]
    is_independent: bool


def _flat(values: Values, names: tuple[str, ...], axes: int) -> Any:
    parts = [jnp.reshape(values[name], (*values[name].shape[:axes], -1)) for name in names]
    return jnp.concatenate(parts, axis=-1)


def _one(plan: Plan, rng_key: Any) -> tuple[Values, Values]:
    """Quantities of the truth, and of the draws of its refit."""
    key_simulate, key_refit, key_rank = jax.random.split(rng_key, 3)
    truth, data = plan.simulate(key_simulate)
    draws = plan.refit(key_refit, plan.bind(data), data)
    rank_of = partial(plan.rank_of, key_rank, data)
    of_draws = jax.vmap(jax.vmap(rank_of))(draws)
    of_truth = rank_of({name: truth[name] for name in draws if name in truth})
    return of_truth, of_draws


def run(
    plan: Plan,
    rng_key: RngKey,
    num_simulations: int,
    batch_size: int,
    store: BatchStore,
    var_names: tuple[str, ...] | None,
    progress: bool | ProgressCallback,
) -> tuple[Ranked, list[str]]:
    """Simulate, refit and rank, batch by batch.

    Raises
    ------
    ValueError
        If there is nothing to rank.
    """
    num_batches = -(-num_simulations // batch_size)
    shapes = jax.eval_shape(partial(_one, plan), rng_key)
    # parameters first; JAX sorts the names of a dict
    last = (*JOINT, DENSITY, DISTANCE)
    order = sorted(shapes[0], key=lambda name: last.index(name) if name in last else -1)
    names = tuple(name for name in order if var_names is None or name in var_names)
    unknown = sorted(set(var_names or ()) - set(names))
    if unknown or not names:
        raise ValueError(
            f"there is no quantity {', '.join(unknown)} to rank; there are {', '.join(shapes[0])}"
        )
    labels = [label for name in names for label in _labels(name, shapes[0][name].shape)]

    @compiled_loop(jax.jit)
    def batch(keys: Any) -> tuple[Any, Any]:
        truth, draws = jax.vmap(partial(_one, plan))(keys)
        return _flat(truth, names, 1), _flat(draws, names, 3)

    parts: list[Ranked] = []
    with Bar(num_simulations, progress=progress, phase="calibration") as bar:
        for index in range(num_batches):
            ranked = store.read(index)
            if ranked is None:
                # the last batch is as large as the others, so that one program serves all
                numbers = index * batch_size + jnp.arange(batch_size)
                keys = jax.vmap(partial(jax.random.fold_in, rng_key))(numbers)
                truth, draws = jax.device_get(batch(keys))
                seed = np.asarray(jax.random.key_data(keys[0])).tolist()
                ranked = rank(
                    truth, draws, np.random.default_rng(seed), is_independent=plan.is_independent
                )
                store.write(index, ranked)
            parts.append(ranked)
            bar.update(min(batch_size, num_simulations - index * batch_size))
    whole = Ranked(*(np.concatenate(x)[:num_simulations] for x in zip(*parts, strict=True)))
    return whole, labels


def _labels(name: str, shape: tuple[int, ...]) -> list[str]:
    if shape == ():
        return [name]
    return [f"{name}[{', '.join(map(str, index))}]" for index in np.ndindex(*shape)]
