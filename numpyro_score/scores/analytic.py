"""Score models in closed form: of a Gaussian, of data points, and of the package's targets.

All are `GaussianMixtureScore`s. The score of noised data points is what denoising score matching
learns (Vincent 2011, doi:10.1162/NECO_a_00142).
"""

from functools import partial
from typing import Any

import numpy as np

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.gaussian_mixture import GaussianMixtureScore
from numpyro_score.scores.standardisation import Data, check_data
from numpyro_score.targets import Target


def gaussian_score(mean: Any, covariance: Any, noise: NoiseProcess) -> GaussianMixtureScore:
    """Exact score of a Gaussian under a noise process.

    Parameters
    ----------
    mean
        `(*event)`.
    covariance
        One variance, `(dim,)` diagonal or `(dim, dim)` full.
    noise
        The process.

    Raises
    ------
    ValueError
        As `GaussianMixtureScore`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> model = gaussian_score([1.0, 2.0], [3.0, 8.0], VE(sigma_min=0.1, sigma_max=10.0))
    >>> model(jnp.array([5.0, 6.5]), 0.5).round(4).tolist()  # -(x - mean) / (variance + 1)
    [-1.0, -0.5]
    """
    covariance = np.asarray(covariance, np.float64)
    stacked = covariance if covariance.ndim == 0 else covariance[None]
    return GaussianMixtureScore(np.ones(1), np.asarray(mean, np.float64)[None], stacked, noise)


def fitted_gaussian(data: Data, noise: NoiseProcess) -> GaussianMixtureScore:
    """Score of the Gaussian with the data's mean and full covariance, under a noise process.

    Parameters
    ----------
    data
        `(num, *event)`.
    noise
        The process.

    Raises
    ------
    ValueError
        If data are empty or not finite.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VP
    >>> data = 3.0 + jax.random.normal(jax.random.key(0), (1000, 2))
    >>> fitted_gaussian(data, VP()).means.array.round(0).tolist()
    [[3.0, 3.0]]
    """
    points = check_data(data)
    flat = points.reshape(len(points), -1)
    covariance = np.atleast_2d(np.cov(flat, rowvar=False, bias=True))
    return gaussian_score(points.mean(axis=0), covariance, noise)


def empirical_score(data: Data, noise: NoiseProcess) -> GaussianMixtureScore:
    """Score of the noised data points: the minimiser of the denoising loss on these data.

    Its density at time t is the kernel density estimate of bandwidth `sigma(t)`. A call computes
    `num` distances; `KernelDensity` computes them in chunks for one bandwidth.

    Parameters
    ----------
    data
        `(num, *event)`.
    noise
        The process.

    Raises
    ------
    ValueError
        If data are empty or not finite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> model = empirical_score(jnp.array([[0.0], [10.0]]), VE(sigma_min=0.1, sigma_max=10.0))
    >>> abs(round(float(model.denoise(jnp.array([4.0]), 0.0)[0]), 3))  # the nearest data point
    0.0
    """
    points = check_data(data)
    return GaussianMixtureScore(np.ones(len(points)), points, 0.0, noise)


def target_score(target: Target, noise: NoiseProcess) -> GaussianMixtureScore:
    """Exact score of one of the package's Gaussian or mixture targets under a noise process.

    Parameters
    ----------
    target
        `std_gaussian`, `ill_gaussian`, `two_modes`, `mixture_1d` and their like.
    noise
        The process.

    Raises
    ------
    ValueError
        If the target is not a Gaussian or a mixture of them.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.targets import two_modes
    >>> model = target_score(two_modes(), VE())
    >>> model.component_log_probs(jnp.array([5.0, 5.0]), 0.0).argmax().item()
    1
    """
    fn = target.logdensity_fn
    known: dict[str, Any] = dict(fn.keywords) if isinstance(fn, partial) else {}
    if set(known) == {"weights", "means", "sds"}:
        return GaussianMixtureScore(known["weights"], known["means"], known["sds"] ** 2, noise)
    if set(known) == {"sd", "rotation"}:
        sd, rotation = known["sd"], known["rotation"]
        covariance = sd**2 if rotation is None else (rotation * sd**2) @ rotation.T
        return gaussian_score(np.zeros(target.dim), covariance, noise)
    raise ValueError(
        f"target {target.name!r} is neither a Gaussian nor a mixture of them, so that its noised "
        "score has no closed form; estimate it with ImportanceScore or MalaScore"
    )
