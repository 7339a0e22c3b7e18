"""What a run cost: evaluations of the log density and of its gradient, and seconds.

Evaluations are counted per chain step by the kernels themselves (`num_grad`, `num_logdensity` in
the sample statistics; a kept draw of a thinned run holds those since the last one) and summed over
chains and steps, warmup and draws apart. A gradient comes with its log density, and counts as two
evaluations: reverse-mode differentiation costs a small multiple of the function, whatever the
dimension (Griewank and Walther, Evaluating Derivatives, 2008).
"""

import math
from typing import NamedTuple

import xarray as xr

GRADIENT_COST = 2
"""Evaluations of the log density that one evaluation of its gradient counts as."""


class Costs(NamedTuple):
    """What a run cost; NaN where it is not recorded.

    Attributes
    ----------
    num_grad, num_logdensity
        Gradients, and log densities without a gradient, that the draws took, all chains together.
    num_grad_warmup, num_logdensity_warmup
        The same for warmup.
    seconds_compile, seconds_warmup, seconds_sampling
        Wall time.
    num_grad_training, seconds_training
        Gradients and seconds of training before the first step, compilation included.
    num_grad_given_up, seconds_given_up
        Gradients and seconds of the warmup and the draws of a kernel that `sample` had chosen and
        given up; compilation is left out.
    num_grad_search, seconds_search
        Gradients and seconds of the search for other modes at the end, compilation included.

    Examples
    --------
    >>> spent = Costs(
    ...     num_grad=1000.0,
    ...     num_logdensity=0.0,
    ...     num_grad_warmup=500.0,
    ...     num_logdensity_warmup=100.0,
    ...     seconds_compile=3.0,
    ...     seconds_warmup=0.1,
    ...     seconds_sampling=0.2,
    ... )
    >>> spent.evaluations, round(spent.seconds, 1)
    (3100.0, 0.3)
    """

    num_grad: float
    num_logdensity: float
    num_grad_warmup: float
    num_logdensity_warmup: float
    seconds_compile: float
    seconds_warmup: float
    seconds_sampling: float
    num_grad_training: float = 0.0
    seconds_training: float = 0.0
    num_grad_given_up: float = 0.0
    seconds_given_up: float = 0.0
    num_grad_search: float = 0.0
    seconds_search: float = 0.0

    @property
    def gradients(self) -> float:
        """Gradients of all that was run."""
        besides = self.num_grad_training + self.num_grad_given_up + self.num_grad_search
        return self.num_grad + self.num_grad_warmup + besides

    @property
    def evaluations(self) -> float:
        """Log densities and `GRADIENT_COST` times gradients, warmup and training included."""
        return self.num_logdensity + self.num_logdensity_warmup + GRADIENT_COST * self.gradients

    @property
    def sampling(self) -> float:
        """Evaluations that the draws took, without warmup and training."""
        return self.num_logdensity + GRADIENT_COST * self.num_grad

    @property
    def training_share(self) -> float:
        """Share of the evaluations that exploring and training took."""
        training = GRADIENT_COST * self.num_grad_training
        return training / self.evaluations if self.evaluations else math.nan

    @property
    def warmup_share(self) -> float:
        """Share of the evaluations that were no draws': warmup, training, given up, search."""
        besides = self.evaluations - self.sampling
        return besides / self.evaluations if self.evaluations else math.nan

    @property
    def seconds(self) -> float:
        """Seconds of all that was run; compilation of warmup and sampling apart."""
        besides = self.seconds_training + self.seconds_given_up + self.seconds_search
        return besides + self.seconds_warmup + self.seconds_sampling


def costs(dt: xr.DataTree) -> Costs:
    """What a run cost, from its sample statistics and the root's attributes.

    Parameters
    ----------
    dt
        A run of `numpyro_score.sample` with its warmup kept, or any other; what is not recorded is
        NaN.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> groups = {"posterior": {"x": np.zeros((4, 100))}}
    >>> one = np.ones((4, 100), int)
    >>> groups["sample_stats"] = {"num_grad": one, "num_logdensity": 0 * one}
    >>> run = costs(az.from_dict(groups))
    >>> run.num_grad, run.num_grad_warmup  # no warmup kept
    (400.0, nan)
    """

    def total(group: str, name: str) -> float:
        if group not in dt.children or name not in dt[group].data_vars:
            return math.nan
        return float(dt[group][name].sum())

    def count(name: str) -> tuple[float, float]:
        has_none = dt.attrs.get("num_warmup") == 0
        return total("sample_stats", name), 0.0 if has_none else total("warmup_sample_stats", name)

    num_grad, num_grad_warmup = count("num_grad")
    num_logdensity, num_logdensity_warmup = count("num_logdensity")
    return Costs(
        num_grad=num_grad,
        num_logdensity=num_logdensity,
        num_grad_warmup=num_grad_warmup,
        num_logdensity_warmup=num_logdensity_warmup,
        seconds_compile=float(dt.attrs.get("seconds_compile", math.nan)),
        seconds_warmup=float(dt.attrs.get("seconds_warmup", math.nan)),
        seconds_sampling=float(dt.attrs.get("seconds_sampling", math.nan)),
        num_grad_training=float(dt.attrs.get("num_grad_training", 0)),
        seconds_training=float(dt.attrs.get("seconds_training", 0)),
        num_grad_given_up=float(dt.attrs.get("num_grad_given_up", 0)),
        num_grad_search=float(dt.attrs.get("num_grad_search", 0)),
        seconds_search=float(dt.attrs.get("seconds_search", 0)),
        seconds_given_up=float(dt.attrs.get("seconds_given_up", 0)),
    )
