"""Tails of draws: Cauchy draws are flagged, and draws that have a mean are not."""

import numpy as np
import pytest
from scipy import stats

from numpyro_score.diagnostics.assessment import assess
from numpyro_score.diagnostics.status import Status
from numpyro_score.diagnostics.tails import tail_of

SHAPE = (4, 1000)
RUNS = 20

QUANTILES = {
    "normal": stats.norm.ppf,
    "t5": stats.t(5).ppf,
    "lognormal": lambda u: np.exp(stats.norm.ppf(u)),
    "exponential": stats.expon.ppf,
    "cauchy": stats.cauchy.ppf,
    "half cauchy": stats.halfcauchy.ppf,
}
HEAVY = ("cauchy", "half cauchy")


def draws(rng, name, correlation):
    """Draws of a distribution, of a Gaussian chain with that autocorrelation."""
    z = rng.normal(size=SHAPE)
    for i in range(1, SHAPE[1]):
        z[:, i] = correlation * z[:, i - 1] + np.sqrt(1 - correlation**2) * z[:, i]
    return QUANTILES[name](stats.norm.cdf(z))


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("name", QUANTILES)
def test_tails_are_flagged_where_there_is_no_mean(name, correlation):
    rng = np.random.default_rng(0)
    flagged = sum(tail_of(draws(rng, name, correlation)).is_heavy for _ in range(RUNS))
    # in 60 runs each, none of the light ones and at least 63% of the heavy ones
    assert flagged >= 0.4 * RUNS if name in HEAVY else flagged == 0


def test_it_is_said_and_the_run_is_not_called_converged(tree):
    rng = np.random.default_rng(1)
    found = assess(tree(x=rng.normal(size=SHAPE), y=rng.standard_cauchy(SHAPE)))
    (finding,) = found.findings["tails"]
    assert finding.parameters == ("y",)
    assert finding.value > 0.8
    assert found.verdict.is_converged
    assert found.status is Status.DOUBTFUL
    (remark,) = found.remarks("tails")
    assert "Report medians and quantiles" in remark.advice


def test_odd_draws_have_no_tails():
    rng = np.random.default_rng(2)
    spike = np.where(rng.uniform(size=SHAPE) < 0.05, 1e6, rng.normal(size=SHAPE))
    for values in (np.ones(SHAPE), spike, rng.standard_cauchy((4, 10))):
        assert not tail_of(values).is_heavy
