"""`fit_posterior`: simulate, and learn the posterior given any data."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution
from numpyro.primitives import sample as sample_site

from numpyro_score.amortised.conditions import Scaling
from numpyro_score.amortised.embedding import RowEmbedding, counted_rows
from numpyro_score.amortised.posterior import AmortisedPosterior, ScaledFlow
from numpyro_score.amortised.simulations import from_model, from_simulator
from numpyro_score.amortised.sites import latent_sites
from numpyro_score.checks import check_whole
from numpyro_score.distributions.conditional_flow import ConditionalFlow
from numpyro_score.distributions.training import FlowOptions, check_options, train_flow
from numpyro_score.targets.simulated import check_simulates, data_sites
from numpyro_score.types import RngKey

INSTEAD = "give every site a proper prior, and write the whole density as distributions of sites"
"""What to do with a model whose sites do not draw from its density."""


def fit_posterior(
    model: Callable[..., Any],
    rng_key: RngKey,
    *,
    num_simulations: int = 10_000,
    prior: Callable[[], Any] | Mapping[str, Distribution] | None = None,
    summary: Callable[[dict[str, Any]], Any] | None = None,
    exchangeable: bool = False,
    model_args: tuple[Any, ...] = (),
    model_kwargs: Mapping[str, Any] | None = None,
    **options: Unpack[FlowOptions],
) -> AmortisedPosterior:
    """Learn the posterior given any data, from simulations of parameters and data.

    Parameters
    ----------
    model
        A NumPyro model, called as for a run: the sites observed in that call are the data. Or, with
        `prior=`, a simulator: any function `(rng_key, parameters) -> data` from a dict of NumPy
        arrays to an array or a dict of arrays. It need not use JAX; to seed another generator,
        take the two numbers `jax.random.key_data(rng_key)`.
    rng_key
        For simulations and training.
    num_simulations
        Pairs of parameters and data.
    prior
        Prior of a simulator's parameters: a NumPyro model without data, or a dict of distributions
        by name.
    summary
        `data -> summaries`, from a dict by site (`"data"` for a simulator that returns an array) to
        arrays of fixed size; by default all numbers of the data.
    exchangeable
        Whether the order of rows, the first axis of every data site, does not matter, as of
        independent observations. Summaries that do not depend on it are then learned.
    model_args, model_kwargs
        Arguments of the model, including data of the right shapes.
    options
        As in `LearnedDistribution.fit`, but by default a width of 128 and 5,000 steps of training.

    Returns
    -------
    The posterior given any data; approximate.

    Raises
    ------
    ValueError
        Before training: if both `summary` and `exchangeable` are given, there are no data or no
        parameters, a prior is improper or discrete, the model has a factor or a scaled site, or
        simulations are not finite (how many, and for which parameters) or differ in shape.

    Warns
    -----
    UserWarning
        If a few simulations are not finite; they are left out.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> def model(y):
    ...     mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)
    >>> posterior = fit_posterior(
    ...     model,
    ...     jax.random.key(0),
    ...     model_args=(jnp.zeros(3),),
    ...     num_simulations=1000,
    ...     num_steps=20,
    ...     progress=False,
    ... )
    >>> posterior.sample(jax.random.key(1), jnp.ones(3), 5)["mean"].shape
    (5,)
    """
    check_whole("num_simulations", num_simulations, 100)
    check_options(options)
    if exchangeable and summary is not None:
        raise ValueError("give summary=, or exchangeable=True to learn one, not both")
    if exchangeable:
        summary = counted_rows
    # a posterior given any data is harder to learn than one distribution
    chosen: FlowOptions = {"width": 128, "num_steps": 5000, **options}
    progress = chosen.get("progress", True)
    kwargs = dict(model_kwargs or {})
    key_simulate, key_train = jax.random.split(rng_key)
    if prior is None:
        names = data_sites(model, model_args, kwargs)
        check_simulates(model, names, model_args, kwargs, INSTEAD)
        sites = latent_sites(model, names, model_args, kwargs)
        points, conditions = from_model(
            model,
            names,
            sites,
            model_args,
            kwargs,
            key_simulate,
            num_simulations,
            summary,
            progress,
        )
    else:
        source = _as_model(prior)
        check_simulates(source, (), (), {}, INSTEAD)
        sites = latent_sites(source, (), (), {})
        points, conditions, names = from_simulator(
            model, source, sites, key_simulate, num_simulations, summary, progress
        )
    embedding = None
    if exchangeable:
        key_train, key_embed = jax.random.split(key_train)
        embedding, conditions = RowEmbedding.fit(
            points, conditions, key_embed, num_steps=chosen["num_steps"], progress=progress
        )
        summary = None
    scaling = Scaling.of(conditions)
    scaled = np.asarray(jax.vmap(scaling)(jnp.asarray(conditions, scaling.middle.dtype)), float)
    flow = train_flow(points, scaled, key_train, **chosen)
    assert isinstance(flow, ConditionalFlow)
    return AmortisedPosterior(ScaledFlow(flow, scaling, embedding), sites, names, summary)


def _as_model(prior: Any) -> Callable[[], Any]:
    """A prior as a model."""
    if isinstance(prior, Mapping):

        def model() -> None:
            for name, distribution in prior.items():
                sample_site(name, distribution)

        return model
    if not callable(prior):
        raise TypeError(
            f"prior is a {type(prior).__name__}; give a NumPyro model without data, or a dict of "
            "distributions by name"
        )
    return prior
