"""`ScoreMetropolis`: Langevin steps accepted by a score alone, in NumPyro's protocol."""

from typing import Unpack

from numpyro_score.infer.markov import markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.warmup import WarmupOptions, check_options
from numpyro_score.kernels.score_metropolis import NUM_NODES, check_nodes, score_metropolis
from numpyro_score.kernels.signature import algorithm_of
from numpyro_score.types import ScoreFn


class ScoreMetropolis(NumPyroKernel):
    """Langevin steps accepted by the line integral of a score: **approximate**, `exact` is False.

    For targets of which only the score is known: the log ratio of densities is the integral of the
    score along the move, by quadrature. Exact up to the error of the quadrature if the score is the
    gradient of a function; biased if not, as for most trained scores. An `EnergyNet` has a density:
    use `MALA`. The statistic `lp` is relative to the log density at each chain's start.

    Parameters
    ----------
    score_fn
        Unconstrained position -> gradient of the log density.
    num_nodes
        Evaluations of the score along a move; one more is made at its end.
    warmup
        Options of the warmup, as for `MALA`.

    Raises
    ------
    ValueError
        If a number is out of range; on `run`, if there are no `init_params`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro.infer import MCMC
    >>> kernel = ScoreMetropolis(lambda x: -x)
    >>> mcmc = MCMC(kernel, num_warmup=100, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(2))
    >>> mcmc.get_samples().shape, kernel.exact
    ((100, 2), False)
    """

    def __init__(
        self,
        score_fn: ScoreFn,
        *,
        num_nodes: int = NUM_NODES,
        **warmup: Unpack[WarmupOptions],
    ) -> None:
        check_options(type(self), warmup)
        if not callable(score_fn):
            raise TypeError(f"score_fn must be callable, but is a {type(score_fn).__name__}.")
        check_nodes(num_nodes)
        # what is carried for a log density counts from each chain's own start
        warmup.setdefault("restart_stuck_chains", False)
        parameters = {"score_fn": score_fn, "num_nodes": num_nodes}
        super().__init__(
            Problem(type(self).__name__, None, None, None, needs_density=False),
            markov(algorithm_of(score_metropolis, parameters), **warmup),
        )
