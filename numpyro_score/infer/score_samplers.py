"""NumPyro kernels of the samplers that a score drives: independent, approximate draws."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jaxtyping import Array

from numpyro_score.deprecation import renamed_arguments
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.score_draws import draws_of_score
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers import (
    FlowSampler,
    Method,
    TimeGrid,
    annealed_langevin,
    dpm_solver_sde,
    edm_times,
    heun,
    probability_flow,
    reverse_sde,
)
from numpyro_score.samplers.annealed import LONG_STEP, LadderLevels, check_ladder, default_ladder


def noise_of(name: str, score: Any, noise: NoiseProcess | None) -> NoiseProcess:
    """The process of a score.

    Raises
    ------
    TypeError
        If neither the argument nor the score says which.
    """
    noise = getattr(score, "noise", None) if noise is None else noise
    if not isinstance(noise, NoiseProcess):
        raise TypeError(
            f"{name} needs the noise process of its score, a {type(score).__name__} that does not "
            "say which; give noise=, such as VP()"
        )
    return noise


class ReverseSDE(NumPyroKernel):
    """Independent draws by the reverse diffusion; see `numpyro_score.samplers.reverse_sde`.

    Parameters
    ----------
    model
        A NumPyro model; the score is then one of its unconstrained latent sites, joined as
        `jax.flatten_util.ravel_pytree` joins them (in the order of their names), and draws come
        back constrained, with deterministic sites. None for draws as they are.
    score
        `score(x, t)` of one point and a scalar time.
    noise
        The process; by default the score's own.
    shape
        Shape of one point, where neither model nor score knows it.
    num_steps, method, grid, denoise, data_mean, data_sd
        As for `reverse_sde`.

    Raises
    ------
    ValueError, TypeError
        As `reverse_sde` does; if process or shape are not known; when run, if the model has another
        number of latent coordinates than the score.

    Examples
    --------
    >>> import jax
    >>> from numpyro.infer import MCMC
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> kernel = ReverseSDE(score=score, num_steps=20)
    >>> mcmc = MCMC(kernel, num_warmup=0, num_samples=500, progress_bar=False)
    >>> mcmc.run(jax.random.key(0))
    >>> mcmc.get_samples().shape, kernel.exact
    ((500, 2), False)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        score: Any,
        noise: NoiseProcess | None = None,
        shape: tuple[int, ...] | None = None,
        num_steps: int = 100,
        method: Method = dpm_solver_sde,
        grid: TimeGrid = edm_times,
        denoise: bool = False,
        data_mean: Any = None,
        data_sd: Any = None,
    ) -> None:
        options = {
            "noise": noise_of(type(self).__name__, score, noise),
            "num_steps": num_steps,
            "method": method,
            "grid": grid,
            "denoise": denoise,
            "data_mean": data_mean,
            "data_sd": data_sd,
        }
        make = partial(make_sampler, reverse_sde, score, options)
        super().__init__(*draws_of_score(type(self).__name__, model, score, shape, make, options))


class ProbabilityFlow(NumPyroKernel):
    """Independent draws by the probability flow; see `numpyro_score.samplers.probability_flow`.

    With the log density of each draw under the flow, in unconstrained coordinates (`lp`).

    Parameters
    ----------
    model, score, noise, shape
        As for `ReverseSDE`.
    num_steps, method, grid, denoise, data_mean, data_sd
        As for `probability_flow`.
    with_log_prob
        Whether to compute the log density, which costs one call and as many derivatives of the
        score as there are dimensions at every step of a solver.
    rtol, atol
        Its tolerances.

    Raises
    ------
    ValueError, TypeError
        As `ReverseSDE`.

    Examples
    --------
    >>> import jax
    >>> from numpyro.infer import MCMC
    >>> from numpyro_score.noise import VP
    >>> from numpyro_score.scores import gaussian_score
    >>> kernel = ProbabilityFlow(score=gaussian_score([1.0], 4.0, VP()), num_steps=10)
    >>> mcmc = MCMC(kernel, num_warmup=0, num_samples=10, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), extra_fields=("potential_energy",))
    >>> mcmc.get_extra_fields()["potential_energy"].shape
    (10,)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        score: Any,
        noise: NoiseProcess | None = None,
        shape: tuple[int, ...] | None = None,
        num_steps: int = 20,
        method: Method = heun,
        grid: TimeGrid = edm_times,
        denoise: bool = False,
        data_mean: Any = None,
        data_sd: Any = None,
        with_log_prob: bool = True,
        rtol: float = 1e-5,
        atol: float = 1e-5,
    ) -> None:
        options = {
            "noise": noise_of(type(self).__name__, score, noise),
            "num_steps": num_steps,
            "method": method,
            "grid": grid,
            "denoise": denoise,
            "data_mean": data_mean,
            "data_sd": data_sd,
        }
        make = partial(make_sampler, probability_flow, score, options)
        log_prob = partial(_log_prob, rtol, atol) if with_log_prob else None
        more = {"with_log_prob": with_log_prob, "rtol": rtol, "atol": atol}
        super().__init__(
            *draws_of_score(
                type(self).__name__, model, score, shape, make, options | more, log_prob
            )
        )


class AnnealedLangevin(NumPyroKernel):
    """Independent draws by annealed Langevin; see `numpyro_score.samplers.annealed_langevin`.

    Parameters
    ----------
    model, shape
        As for `ReverseSDE`.
    score
        `score(x, t)` where it has, or is given, a process; else `score(x, sigma)`.
    noise
        The process of a score that takes times; by default the score's own, if any.
    ladder
        Noise levels, falling; by default over all of the process's noise.
    step_size
        Step at the last level; by default half of its variance, longer than `pick_step_size` says,
        since posteriors vary at their own scale in every direction.
    steps_per_level, denoise, data_mean, data_sd
        As for `annealed_langevin`.

    Raises
    ------
    ValueError, TypeError
        As `annealed_langevin` does, and `ReverseSDE`; if there is neither ladder nor process.

    Examples
    --------
    >>> import jax
    >>> from numpyro.infer import MCMC
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import gaussian_score
    >>> score = gaussian_score([1.0], 4.0, VE(sigma_min=0.1, sigma_max=10.0))
    >>> kernel = AnnealedLangevin(score=score, steps_per_level=5)
    >>> mcmc = MCMC(kernel, num_warmup=0, num_samples=10, progress_bar=False)
    >>> mcmc.run(jax.random.key(0))
    >>> mcmc.get_samples().shape
    (10, 1)
    """

    @renamed_arguments(eps="step_size")
    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        score: Any,
        noise: NoiseProcess | None = None,
        shape: tuple[int, ...] | None = None,
        ladder: LadderLevels | None = None,
        steps_per_level: int = 20,
        step_size: float | None = None,
        denoise: bool = False,
        data_mean: Any = None,
        data_sd: Any = None,
    ) -> None:
        if ladder is None:
            noise = noise_of(f"{type(self).__name__} without a ladder", score, noise)
        elif noise is None:
            noise = getattr(score, "noise", None)
        options = {
            "noise": noise,
            "steps_per_level": steps_per_level,
            "step_size": step_size,
            "denoise": denoise,
            "data_mean": data_mean,
            "data_sd": data_sd,
        }
        make = partial(_make_annealed, score, ladder, options)
        settings = {**options, "ladder": ladder}
        super().__init__(*draws_of_score(type(self).__name__, model, score, shape, make, settings))


def make_sampler(
    sampler: Callable[..., Any], score: Any, options: Any, shape: Sequence[int]
) -> Any:
    """A sampler of points of a shape."""
    return sampler(score, shape=shape, **options)


def _make_annealed(
    score: Any, ladder: LadderLevels | None, options: Any, shape: Sequence[int]
) -> Any:
    if ladder is None:
        ladder = default_ladder(options["noise"], math.prod(shape))
    if options["step_size"] is None:
        options = {**options, "step_size": LONG_STEP * float(check_ladder(ladder)[-1]) ** 2}
    return annealed_langevin(score, ladder, shape, **options)


def _log_prob(rtol: float, atol: float, flow: FlowSampler, x: Array) -> tuple[Array, Array]:
    return flow.log_prob_and_count(x, rtol=rtol, atol=atol)
