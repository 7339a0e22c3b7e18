"""`sbc`: simulation-based calibration of a kernel on a model, all refits in one compiled program.

Parameters are drawn from the prior and data given them; the posterior given each data set is
sampled anew, and the true values are ranked among the draws (Cook, Gelman and Rubin 2006,
doi:10.1198/106186006X136976; Talts et al. 2018, arXiv:1804.06788). Data are arguments of the
program, which is compiled once and vectorized over data sets.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.amortised.sites import latent_sites
from numpyro_score.calibration.calibrate import BATCH_SIZE, Settings, calibrate
from numpyro_score.calibration.credible import Regions, regions
from numpyro_score.calibration.program import Plan
from numpyro_score.calibration.refit import Amortised, Chains, DrawsGivenData, Refit, quantities
from numpyro_score.calibration.result import Calibration
from numpyro_score.checks import check_kernel_factory
from numpyro_score.progress import ProgressCallback
from numpyro_score.run.model_arguments import calling
from numpyro_score.targets.simulated import (
    Values,
    WithData,
    check_simulates,
    data_sites,
    simulate,
)
from numpyro_score.types import RngKey

SPREAD = 2**31 - 1
"""Folded into the key, for the prior's spread; refits use their numbers."""

INSTEAD = (
    "give simulator=, a model of the same sites that draws from the whole density, or use "
    "posterior_sbc, which draws from the posterior"
)
"""What to do with a model whose sites do not draw from its density."""


def sbc(
    model: Callable[..., Any],
    kernel: Callable[[Callable[..., Any]], MCMCKernel] | DrawsGivenData,
    rng_key: RngKey,
    *,
    model_args: tuple[Any, ...] = (),
    model_kwargs: Mapping[str, Any] | None = None,
    simulator: Callable[..., Any] | None = None,
    num_simulations: int = 200,
    num_warmup: int = 300,
    num_samples: int = 300,
    num_chains: int = 4,
    var_names: tuple[str, ...] | None = None,
    alpha: float = 0.05,
    batch_size: int = BATCH_SIZE,
    store: str | Path | None = None,
    progress: bool | ProgressCallback = True,
) -> Calibration:
    """Simulation-based calibration of a kernel on a model.

    Draws parameters from the model's prior and data from its likelihood, samples the posterior of
    every data set with the kernel, and tests whether the ranks of the true values are uniform. All
    real sites are ranked, and the log prior and log likelihood, which react to faults that no
    single parameter shows. Chains are thinned to approximately independent draws.

    Of an amortised posterior, its log density and the distance of the parameters from a random draw
    of the prior are ranked too. `Calibration.coverage` is made of these ranks: expected coverage of
    highest-density regions, and TARP (Lemos et al. 2023, arXiv:2302.03026).

    Parameters
    ----------
    model
        A NumPyro model, called as for a run: the sites observed in that call are simulated.
    kernel
        `model -> kernel`: a class such as `numpyro_score.MALA` or `numpyro.infer.NUTS`, or a
        function that sets its options. Or an amortised posterior, whose independent draws
        (`num_samples` of each refit) are ranked.
    rng_key
        For all that is random.
    model_args, model_kwargs
        Arguments of the model, including data of the right shapes; observed values are replaced by
        simulated ones.
    simulator
        A model with the same sites to simulate from, by default the model that is fitted. A model
        with a `factor` or a scaled site needs one.
    num_simulations
        Number of data sets.
    num_warmup, num_samples, num_chains
        Of every refit.
    var_names
        What to rank, by default everything.
    alpha
        False-alarm rate of the verdict on all quantities together.
    batch_size
        Refits in one call of the program; memory is proportional to it.
    store
        A folder in which batches are stored, and from which an interrupted calibration is resumed.
    progress
        Whether to show a progress bar, or a function to call in its place.

    Raises
    ------
    ValueError
        If the model has no data or nothing to rank, or draws of its sites are not of its density,
        a number is out of range, or the folder holds another calibration.
    TypeError
        If the kernel is no function of a model, or the model cannot be called so.

    Warns
    -----
    UserWarning
        If refits have too few effective draws, chains that disagree, or draws that are not finite,
        or if what is ranked would not show draws that ignore the data.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro, numpyro.distributions as dist
    >>> from numpyro_score.infer import MALA
    >>> def model(y):
    ...     mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)
    >>> found = sbc(
    ...     model,
    ...     MALA,
    ...     jax.random.key(0),
    ...     model_args=(jnp.zeros(3),),
    ...     num_simulations=20,
    ...     num_warmup=100,
    ...     num_samples=100,
    ...     num_chains=8,
    ...     progress=False,
    ... )
    >>> list(found.table.index)
    ['mean', 'log_prior', 'log_likelihood']
    """
    settings = Settings(
        num_simulations,
        num_warmup,
        num_samples,
        num_chains,
        var_names,
        alpha,
        batch_size,
        store,
        progress,
    )
    settings.check()
    kwargs = dict(model_kwargs or {})
    if not isinstance(kernel, DrawsGivenData):
        check_kernel_factory("kernel", kernel, "data set")
    with calling(model, model_args, kwargs):
        names = data_sites(model, model_args, kwargs)
    source = model if simulator is None else simulator
    if simulator is None:
        check_simulates(model, names, model_args, kwargs, INSTEAD)
    refit: Refit
    described: Any = kernel
    credible: Regions | None = None
    if not isinstance(kernel, DrawsGivenData):
        refit = Chains(kernel, model_args, kwargs, num_warmup, num_samples, num_chains)
    else:
        refit, described = Amortised(kernel, num_samples), getattr(kernel, "flow", kernel)
        sites = tuple(site.name for site in latent_sites(model, names, model_args, kwargs))

        def draw_prior(rng_key: Any) -> Values:
            return simulate(model, names, rng_key, model_args, kwargs).truth

        credible = regions(kernel, draw_prior, sites, jax.random.fold_in(rng_key, SPREAD))

    def ranked(rng_key: Any, data: Values, values: Values) -> Values:
        found = quantities(model, names, data, values, model_args, kwargs)
        return found if credible is None else {**found, **credible(rng_key, data, values)}

    plan = Plan(
        lambda key: simulate(source, names, key, model_args, kwargs),
        lambda data: WithData(model, names, data),
        refit,
        ranked,
        is_independent=credible is not None,
    )
    parts = (model, source, described, model_args, kwargs)
    return calibrate(plan, rng_key, rng_key, parts, settings, "drawn from the prior")
