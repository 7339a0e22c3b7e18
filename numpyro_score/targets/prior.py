"""The prior of a NumPyro model: the model without its likelihood, and the prior as a proposal."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array, Float
from numpyro.handlers import seed, trace
from numpyro.infer.util import _prepare_model_for_potential, potential_energy, unconstrain_fn
from numpyro.primitives import Messenger

from numpyro_score.targets.sites import sites_of
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
    """The sample sites of one trace of the model."""
    sites = sites_of(model, args, kwargs)
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

    It covers the posterior's support by construction. Discrete sites, which are summed out of the
    posterior, are summed out of its density too.

    Returns
    -------
    `rng_key -> (position, log density)`, and `position -> log density`.

    Raises
    ------
    ValueError
        When a draw is made, if a site's prior is improper and cannot be sampled.
    """
    kwargs = dict(kwargs)
    sites = sites_of(model, args, kwargs)
    latent = {
        name: site
        for name, site in sites.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    continuous = {name for name, site in latent.items() if not site["fn"].support.is_discrete}
    has_discrete = len(continuous) < len(latent)
    masked = without_likelihood(model, args, kwargs)
    prior = _prepare_model_for_potential(masked, sites, enum=has_discrete)

    def log_prob(position: Position) -> Float[Array, ""]:
        return -potential_energy(prior, args, kwargs, position, enum=has_discrete)

    def sample_and_log_prob(rng_key: RngKey) -> tuple[Position, Float[Array, ""]]:
        try:
            sites = trace(seed(model, rng_key)).get_trace(*args, **kwargs)
        except NotImplementedError as error:
            raise ValueError(
                "the model's prior cannot be sampled, because a site's distribution is "
                "improper; give proposal=, or give the site a proper prior."
            ) from error
        values = {name: sites[name]["value"] for name in continuous}
        # the key is for sites that have no value here: discrete ones, and those that are hidden
        position = unconstrain_fn(seed(model, rng_key), args, kwargs, values)
        return position, log_prob(position)

    return sample_and_log_prob, log_prob
