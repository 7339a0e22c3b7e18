"""`AmortisedPosterior`: the posterior given any data, learned from simulations; approximate.

Neural posterior estimation with a score (Sharrock et al. 2022, arXiv:2210.04872; Geffner,
Papamakarios and Mnih 2023, arXiv:2209.14249), whose probability flow in invertible steps has a
density.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.amortised.conditions import Scaling, as_vector, by_site
from numpyro_score.amortised.embedding import RowEmbedding, RowNetworks
from numpyro_score.amortised.sites import Site, from_values, to_values
from numpyro_score.distributions.conditional_flow import ConditionalFlow
from numpyro_score.distributions.density import draws, log_density
from numpyro_score.distributions.files import KNOWN
from numpyro_score.distributions.supports import decode, encode
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.training.io import about_model, load, save
from numpyro_score.types import RngKey

if TYPE_CHECKING:
    from xarray import DataTree

    from numpyro_score.infer import NumPyroKernel


class ScaledFlow(eqx.Module):
    """A conditional flow, the standardisation of its conditions, the learned summaries if any."""

    flow: ConditionalFlow
    scaling: Scaling
    embedding: RowEmbedding | None = None


class AmortisedPosterior:
    """The posterior of a model's parameters given any data, learned from simulations.

    Approximate: `exact` is False. If the model has a density, `as_kernel` returns an exact kernel.
    Construct it by `fit_posterior` or `load`.

    Parameters
    ----------
    flow
        The flow of unconstrained parameters given a condition, and the standardisation of
        conditions.
    sites
        The parameters.
    names
        Names of the data.
    summary
        `data -> summaries`, from a dict by site; None for the data themselves, or where summaries
        were learned.

    Examples
    --------
    Made by `fit_posterior`:

    >>> AmortisedPosterior.exact
    False
    """

    exact = False

    def __init__(
        self,
        flow: ScaledFlow,
        sites: tuple[Site, ...],
        names: tuple[str, ...],
        summary: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self.flow, self.sites, self.names, self.summary = flow, tuple(sites), tuple(names), summary
        self._summarise = summary if flow.embedding is None else flow.embedding

    def condition(self, data: Any) -> Float[Array, " size"]:
        """Data as the vector that the flow takes.

        Parameters
        ----------
        data
            A dict by site, or an array where there is one site.

        Raises
        ------
        ValueError
            If data are missing, not finite, or of another size than those that were simulated.
        """
        vector = as_vector(by_site(self.names, data), self._summarise)
        size = self.flow.scaling.middle.shape[0]
        if vector.shape != (size,):
            raise ValueError(
                f"the data make a condition of {len(vector)} numbers, but {size} were simulated; "
                "give data of the simulated shape, or learn with a summary of fixed length"
            )
        if not isinstance(vector, jax.core.Tracer) and not bool(jnp.isfinite(vector).all()):
            raise ValueError("the data hold values that are not finite")
        return self.flow.scaling(vector)

    def proposal(self, data: Any) -> LearnedProposal:
        """The posterior given data, as a proposal over unconstrained vectors."""
        return self.flow.flow.at(self.condition(data))

    def sample(self, rng_key: RngKey, data: Any, num: int = 1000) -> dict[str, Array]:
        """Draws of the parameters given data, `(num, *shape)` by site; approximate.

        Parameters
        ----------
        rng_key
            One key.
        data
            As of `condition`.
        num
            Draws.

        Raises
        ------
        ValueError
            As of `condition`.

        Warns
        -----
        UserWarning
            If data lie outside of the range of the simulations.
        """
        condition = self.condition(data)
        self.flow.scaling.warn_if_outside(condition)
        u = draws(self.flow.flow, rng_key, (num,), condition)
        return jax.vmap(lambda u: to_values(self.sites, u))(u)

    def log_prob(self, values: Mapping[str, Any], data: Any) -> Float[Array, ""]:
        """Log density of one set of parameters given data; `jax.vmap` for many."""
        missing = [site.name for site in self.sites if site.name not in values]
        if missing:
            raise ValueError(f"the parameters lack {', '.join(missing)}")
        u, volume = from_values(self.sites, values)
        return log_density(self.flow.flow, u, self.condition(data)) - volume

    def as_kernel(self, model: Callable[..., Any], **settings: Any) -> "NumPyroKernel":
        """An exact kernel of the model, for any data, that proposes draws of this posterior.

        Parameters
        ----------
        model
            The model, with a density; called with the data, as for a run.
        settings
            Of `numpyro_score.amortised.kernel.amortised_kernel`.
        """
        from numpyro_score.amortised.kernel import amortised_kernel

        return amortised_kernel(self, model, **settings)

    def correct(
        self, rng_key: RngKey, model: Callable[..., Any], data: Any, **settings: Any
    ) -> "DataTree":
        """Exact draws of the posteriors of many data sets, in one compiled program.

        Parameters
        ----------
        rng_key
            One key.
        model
            The model, with a density.
        data
            As of `condition`, with a first axis for the data sets.
        settings
            Of `numpyro_score.amortised.correct.correct`.

        Returns
        -------
        Draws with the dimensions `chain`, `draw` and `data_set`. In `sample_stats`, for each data
        set, `pareto_k` of the learned posterior as a proposal.
        """
        from numpyro_score.amortised.correct import correct

        return correct(self, rng_key, model, data, **settings)

    def with_flow(self, flow: ScaledFlow) -> "AmortisedPosterior":
        """The same with another flow, such as one whose arrays are traced."""
        return AmortisedPosterior(flow, self.sites, self.names, self.summary)

    def save(self, path: str | Path) -> Path:
        """Write it to one file, which `load` reads. A summary is not written.

        Raises
        ------
        TypeError
            If a support cannot be written to a file.
        """
        about = {
            "posterior": [
                {"name": site.name, "shape": list(site.shape), "support": encode(site.support)}
                for site in self.sites
            ],
            "data": list(self.names),
            "has_summary": self.summary is not None,
        }
        return save(self.flow, path, about)

    @classmethod
    def load(
        cls, path: str | Path, summary: Callable[[dict[str, Any]], Any] | None = None
    ) -> "AmortisedPosterior":
        """Read what `save` wrote.

        Parameters
        ----------
        path
            The file.
        summary
            The function that it was learned with, if any.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, it holds something else, or lacks its summary.
        """
        about = about_model(path)
        if "posterior" not in about:
            raise ValueError(
                f"{path} does not hold an amortised posterior; give a file that "
                "AmortisedPosterior.save wrote"
            )
        if about["has_summary"] != (summary is not None):
            raise ValueError(
                f"the posterior in {path} was learned "
                + ("with a summary; give it again: summary=" if summary is None else "without one")
            )
        sites = tuple(
            Site(part["name"], tuple(part["shape"]), decode(part["support"]))
            for part in about["posterior"]
        )
        flow = load(path, (*KNOWN, ScaledFlow, Scaling, RowEmbedding, RowNetworks))
        return cls(flow, sites, tuple(about["data"]), summary)
