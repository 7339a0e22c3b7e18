"""The score of a mixture, from the scores of its components.

The score of `p = sum_i w_i p_i` at time t is the average of the components' scores, weighted by the
posterior probabilities of the components at the point:

    score(x, t) = sum_i r_i(x, t) score_i(x, t),    r_i proportional to w_i p_{i,t}(x),

and likewise for denoisers. The formula is exact. It needs the densities of the noised components up
to a common factor, which scores alone do not determine. The densities come from

* the components themselves, where they have `log_prob` (analytic scores);
* `log_probs`: for networks, a Gaussian fitted to each part (`fitted_gaussian`), accurate
  where parts are nearly Gaussian or far apart; the data points of each part (`empirical_score`); or
  a classifier of noised points, whose logits minus the log weights are log densities up to a
  common term.

An unnormalised energy cannot be used: its unknown constant would act as a weight. To draw from the
mixture no density is needed: choose i with probability `w_i` and run a sampler with score i.

Du et al. 2023, arXiv:2302.11552, on mixtures and products of scores and energies.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Condition, Constant, Event, ScoreModel
from numpyro_score.types import Scalar


@final
class Mixture(ScoreModel):
    """The score of a mixture of score models that share a noise process.

    Parameters
    ----------
    scores
        At least one score model; all must have the same process.
    weights
        Weights of the components, positive; they are normalised to sum to 1.
    log_probs
        For each component a function `(x, t)` -> scalar log density of its noised distribution, up
        to a common term; None if every score has such a method `log_prob`.

    Raises
    ------
    ValueError
        If numbers do not match, weights are not positive, or processes differ.
    TypeError
        If `log_probs` are missing and a score has none.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import gaussian_score
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> halves = [gaussian_score([mean], 1.0, noise) for mean in (-3.0, 3.0)]
    >>> model = Mixture(halves, [0.2, 0.8])
    >>> [round(float(w), 3) for w in model.posterior_weights(jnp.zeros(1), 0.5)]
    [0.2, 0.8]
    """

    scores: tuple[ScoreModel, ...]
    log_weights: Constant
    log_probs: tuple[Callable[..., Any], ...] | None
    noise: NoiseProcess

    def __init__(
        self,
        scores: Sequence[ScoreModel],
        weights: ArrayLike | list[float],
        log_probs: Sequence[Callable[..., Any]] | None = None,
    ):
        w = np.asarray(weights, np.float64)
        if len(scores) == 0 or w.shape != (len(scores),):
            raise ValueError(
                f"{len(scores)} scores and weights of shape {w.shape}; one weight for each of at "
                "least one score is needed"
            )
        if not ((w > 0) & np.isfinite(w)).all():
            raise ValueError(f"weights are {w} but must all be above 0")
        if any(not eqx.tree_equal(score.noise, scores[0].noise) for score in scores):
            raise ValueError("the scores have different noise processes; a mixture needs one")
        if log_probs is None:
            for score in scores:
                if not hasattr(score, "log_prob"):
                    raise TypeError(
                        f"a {type(score).__name__} has no log_prob, and a score alone does not say "
                        "the probability of its component at a point; give log_probs, such as "
                        "[fitted_gaussian(part, noise).log_prob for part in parts]"
                    )
        elif len(log_probs) != len(scores):
            raise ValueError(f"{len(scores)} scores but {len(log_probs)} log_probs; give one each")
        self.scores = tuple(scores)
        self.log_weights = Constant(jnp.asarray(np.log(w / w.sum()), jnp.result_type(float)))
        self.log_probs = None if log_probs is None else tuple(log_probs)
        self.noise = scores[0].noise

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`."""
        scores = jnp.stack([score(x, t, y) for score in self.scores])
        return jnp.tensordot(self.posterior_weights(x, t), scores, 1)

    def posterior_weights(self, x: Event, t: Scalar) -> Float[Array, " components"]:
        """Probability of each component given the noised point; sums to 1."""
        return jax.nn.softmax(self._component_log_probs(x, t))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one point, or None if no component has one."""
        return next((score.shape for score in self.scores if score.shape is not None), None)

    @property
    def data_moments(self) -> tuple[Event, Event] | None:
        """Mean and sd of each coordinate, or None if a component does not know its own."""
        known = [score.data_moments for score in self.scores]
        if any(each is None for each in known):
            return None
        means, sds = (jnp.stack(part) for part in zip(*filter(None, known), strict=True))
        weights = jnp.exp(self.log_weights.array)
        mean = jnp.tensordot(weights, means, 1)
        return mean, jnp.sqrt(jnp.tensordot(weights, sds**2 + (means - mean) ** 2, 1))

    def _component_log_probs(self, x: Event, t: Scalar) -> Float[Array, " components"]:
        if self.log_probs is None:
            densities = [score.log_prob(x, t) for score in self.scores]  # type: ignore[attr-defined]
        else:
            densities = [log_prob(x, t) for log_prob in self.log_probs]
        return self.log_weights.like(x) + jnp.stack(densities)
