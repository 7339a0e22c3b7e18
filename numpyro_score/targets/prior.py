"""The prior of a NumPyro model: the model without its likelihood, and the prior as a proposal."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array, Float
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.initialization import init_to_uniform
from numpyro.infer.util import potential_energy, unconstrain_fn
from numpyro.primitives import Messenger

from numpyro_score.types import Position, RngKey


def without_likelihood(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[..., Any]:
    """The model with every observed site masked out: its prior on the latent sites."""
    sites = _sample_sites(model, args, kwargs)
    return MaskSites(model, frozenset(n for n, site in sites.items() if site["is_observed"]))


def _sample_sites(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The sample sites of one trace of the model, which may have improper priors."""
    seeded = substitute(seed(model, jax.random.key(0)), substitute_fn=init_to_uniform)
    sites = trace(seeded).get_trace(*args, **kwargs)
    return {name: site for name, site in sites.items() if site["type"] == "sample"}


class MaskSites(Messenger):
    """Handler that leaves the named sites out of the log density.

    Being observed is not enough to choose them by: NumPyro adds the Jacobians of its transforms as
    observed sites.
    """

    def __init__(self, fn: Callable[..., Any], names: frozenset[str]) -> None:
        super().__init__(fn)
        self._names = names

    def process_message(self, msg: dict[str, Any]) -> None:
        """Mask the site."""
        if msg["type"] == "sample" and msg["name"] in self._names:
            msg["fn"] = msg["fn"].mask(False)


def prior_proposal(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Callable[[RngKey], tuple[Position, Any]], Callable[[Position], Any]]:
    """The model's prior on the unconstrained sites, as a proposal distribution.

    It covers the posterior's support by construction.

    Returns
    -------
    `rng_key -> (position, log density)`, and `position -> log density`.

    Raises
    ------
    ValueError
        The model has discrete latent sites; or, when a draw is made, a site's prior is improper
        and cannot be sampled.
    """
    for name, site in _sample_sites(model, args, kwargs).items():
        if not site["is_observed"] and site["fn"].support.is_discrete:
            raise ValueError(
                f"the model's prior has the discrete site {name!r}, and cannot propose "
                "the continuous sites alone; give proposal=, or use another kernel."
            )
    kwargs = dict(kwargs)
    prior = without_likelihood(model, args, kwargs)

    def log_prob(position: Position) -> Float[Array, ""]:
        return -potential_energy(prior, args, kwargs, position)

    def sample_and_log_prob(rng_key: RngKey) -> tuple[Position, Float[Array, ""]]:
        try:
            sites = trace(seed(model, rng_key)).get_trace(*args, **kwargs)
        except NotImplementedError as error:
            raise ValueError(
                "the model's prior cannot be sampled, because a site's distribution is "
                "improper; give proposal=, or give the site a proper prior."
            ) from error
        values = {
            name: site["value"]
            for name, site in sites.items()
            if site["type"] == "sample" and not site["is_observed"]
        }
        position = unconstrain_fn(model, args, kwargs, values)
        return position, log_prob(position)

    return sample_and_log_prob, log_prob
