"""A model with simulated data in place of its own: its observed sites drawn, or set to values.

The model is called as for a run on real data. Which sites are data is read off that call.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import Unit
from numpyro.handlers import seed, substitute, trace
from numpyro.primitives import Messenger, factor, prng_key

from numpyro_score.targets.sites import sites_of
from numpyro_score.types import RngKey

type Values = dict[str, Any]

JOINT = ("log_prior", "log_likelihood")
"""Names of the joint log densities."""


class WithData(Messenger):
    """Handler that gives the named sites other data, or draws them.

    Parameters
    ----------
    fn
        The model.
    names
        Its data.
    data
        Site -> value; None to draw them from their distributions.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        names: tuple[str, ...],
        data: Mapping[str, Any] | None,
    ) -> None:
        super().__init__(fn)
        self._names, self._data = names, data

    def process_message(self, msg: dict[str, Any]) -> None:
        """Set or free the site."""
        if msg["type"] != "sample" or msg["name"] not in self._names:
            return
        if self._data is not None:
            msg["value"], msg["is_observed"] = self._data[msg["name"]], True
            return
        if msg["is_observed"]:
            shape, fn = jnp.shape(msg["value"]), msg["fn"]
            # many values observed of one distribution are as many independent draws
            msg["fn"] = fn.expand(shape[: len(shape) - fn.event_dim])
        msg["value"], msg["is_observed"] = None, False
        # `seed` leaves out a site that looked observed
        if msg["kwargs"]["rng_key"] is None:
            msg["kwargs"]["rng_key"] = prng_key()


class Simulation(NamedTuple):
    """Parameters and data that were drawn together.

    Attributes
    ----------
    truth
        Site -> value of what is not observed, deterministic sites included.
    data
        Site -> value of what is.
    """

    truth: Values
    data: Values


def data_sites(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[str, ...]:
    """Names of the sites that hold data, in a call of the model as for a run.

    Raises
    ------
    ValueError
        If there are none.
    """
    sites = {
        name: site
        for name, site in sites_of(model, args, kwargs).items()
        if site["type"] == "sample"
    }
    names = tuple(
        name
        for name, site in sites.items()
        if site["is_observed"] and not isinstance(_base(site["fn"]), Unit)
    )
    if not names:
        raise ValueError(
            "the model as it is called has no observed site, so that there are no data to "
            "simulate; give model_args or model_kwargs with data of the right shapes, as for a run"
        )
    return names


def _base(distribution: Any) -> Any:
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return distribution


def check_simulates(
    model: Callable[..., Any],
    names: tuple[str, ...],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    instead: str,
) -> None:
    """Check that draws of the sites are draws of the model.

    They are not where a factor is part of its density, or a site counts with another weight than
    one, and they cannot be made where a prior is improper.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with.
    names
        Its data sites.
    instead
        What to do where they are not.

    Raises
    ------
    ValueError
        If they are not; the message names the site. A constant factor is none.
    """

    def drawn(key: int) -> dict[str, Any]:
        free = seed(WithData(model, names, None), jax.random.key(key))
        try:
            sites = trace(free).get_trace(*args, **kwargs)
        except NotImplementedError as error:
            raise ValueError(
                "the prior of the model cannot be sampled, because the prior of a site is "
                f"improper; {instead}"
            ) from error
        return {name: site for name, site in sites.items() if site["type"] == "sample"}

    first, second = drawn(0), drawn(1)
    for name, site in first.items():
        scale = site.get("scale")
        if scale is not None and not np.all(np.asarray(scale) == 1):
            raise ValueError(
                f"the site {name!r} counts with a weight other than one (handlers.scale, or a "
                f"plate that draws a subsample), which simulated values do not have; {instead}"
            )
        if isinstance(_base(site["fn"]), Unit):
            other = second.get(name)
            if other is None or not np.array_equal(_factor(site), _factor(other), equal_nan=True):
                raise ValueError(
                    f"the model has the factor {name!r}, which values simulated from its sites "
                    f"ignore; {instead}"
                )


def _factor(site: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(site["fn"].log_prob(site["value"]))


def simulate(
    model: Callable[..., Any],
    names: tuple[str, ...],
    rng_key: RngKey,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
) -> Simulation:
    """Draw parameters from the prior, and data given them; or data given parameters.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with.
    names
        Its data sites.
    rng_key
        One key.
    given
        Values of latent sites that are not to be drawn.
    """
    free = WithData(model, names, None)
    if given is not None:
        free = substitute(free, data=dict(given))
    sites = trace(seed(free, rng_key)).get_trace(*args, **kwargs)
    kept = {
        name: site["value"]
        for name, site in sites.items()
        if site["type"] == "deterministic"
        or (site["type"] == "sample" and not isinstance(_base(site["fn"]), Unit))
    }
    data = {name: kept.pop(name) for name in names}
    observed = {name for name in kept if sites[name].get("is_observed")}
    return Simulation({name: x for name, x in kept.items() if name not in observed}, data)


def joint_log_densities(
    model: Callable[..., Any],
    names: tuple[str, ...],
    data: Mapping[str, Any],
    values: Mapping[str, Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> dict[str, Float[Array, ""]]:
    """Log prior and log likelihood of the model at values of its sites.

    Ranks of functions of parameters and data find faults that ranks of parameters do not (Modrak et
    al. 2023, arXiv:2211.02383).
    """
    bound = substitute(WithData(model, names, data), data=dict(values))
    sites = trace(seed(bound, jax.random.key(0))).get_trace(*args, **kwargs)
    totals = {name: jnp.zeros(()) for name in JOINT}
    for name, site in sites.items():
        if site["type"] != "sample":
            continue
        value = site["fn"].log_prob(site["value"])
        if site.get("scale") is not None:
            value = site["scale"] * value
        what = JOINT[int(site["is_observed"])]
        if name in names or not site["is_observed"] or isinstance(_base(site["fn"]), Unit):
            totals[what] = totals[what] + jnp.sum(value)
    return totals


class WithReplicate:
    """A model of its own data and of a replicate that is independent given the parameters.

    Parameters
    ----------
    model
        The model, called with its data.
    data
        Site -> value of the replicate.
    """

    def __init__(self, model: Callable[..., Any], data: Mapping[str, Any]) -> None:
        self._model, self._data = model, data

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model, and add the replicate's log likelihood."""
        with trace() as sites:
            result = self._model(*args, **kwargs)
        total = jnp.zeros(())
        for name, value in self._data.items():
            part = sites[name]["fn"].log_prob(value)
            scale = sites[name].get("scale")
            total = total + jnp.sum(part if scale is None else scale * part)
        factor("log likelihood of the replicate", total)
        return result
