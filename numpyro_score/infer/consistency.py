"""The NumPyro kernel of a consistency model: independent, approximate draws in one call each."""

from collections.abc import Callable
from functools import partial
from typing import Any

from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.score_draws import draws_of_score
from numpyro_score.infer.score_samplers import make_sampler, noise_of
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers import TimeGrid, consistency


class Consistency(NumPyroKernel):
    """Independent draws by a consistency model; see `numpyro_score.samplers.consistency`.

    Parameters
    ----------
    model
        A NumPyro model; the function is then one of its unconstrained latent sites, as for
        `ReverseSDE`. None for draws as they are.
    function
        The trained `ConsistencyModel`, or any `f(x, t)` of one point and a scalar time.
    noise
        The process; by default the function's own.
    shape
        Shape of one point, where neither model nor function knows it.
    num_steps, grid, data_mean, data_sd
        As for `consistency`.

    Raises
    ------
    ValueError, TypeError
        As `consistency` does; if process or shape are not known; when run, if the model has another
        number of latent coordinates than the function.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro.infer import MCMC
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> function = lambda x, t: x / jnp.sqrt(1.0 + noise.variance(t))  # of N(0, 1) data
    >>> kernel = Consistency(function=function, noise=noise, shape=(2,), data_sd=1.0)
    >>> mcmc = MCMC(kernel, num_warmup=0, num_samples=500, progress_bar=False)
    >>> mcmc.run(jax.random.key(0))
    >>> mcmc.get_samples().shape, kernel.exact
    ((500, 2), False)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        function: Any,
        noise: NoiseProcess | None = None,
        shape: tuple[int, ...] | None = None,
        num_steps: int = 1,
        grid: TimeGrid | None = None,
        data_mean: Any = None,
        data_sd: Any = None,
    ) -> None:
        options = {
            "noise": noise_of(type(self).__name__, function, noise),
            "num_steps": num_steps,
            "grid": grid,
            "data_mean": data_mean,
            "data_sd": data_sd,
        }
        make = partial(make_sampler, consistency, function, options)
        super().__init__(
            *draws_of_score(type(self).__name__, model, function, shape, make, options)
        )
