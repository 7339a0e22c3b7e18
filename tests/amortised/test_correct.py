"""Exact draws for many data sets at once: right whatever the amortised posterior is."""

from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.diagnostics import effective_sample_size

from numpyro_score.amortised import AmortisedPosterior, chains, correct
from tests.amortised.test_posterior import EMPTY, KEY, exact, fitted, model

SETS = np.array([[1.0, 2.0, 0.5], [-3.0, 1.0, -2.5], [0.0, 0.1, -0.1], [3.0, 3.5, 2.0]])
SETTINGS: dict[str, Any] = {"model_args": (EMPTY,), "batch_size": 3, "progress": False}


@pytest.fixture(scope="module")
def poor() -> AmortisedPosterior:
    """Hardly trained."""
    return fitted(50)


def standard_errors(tree: xr.DataTree) -> np.ndarray:
    """Differences of means and sds of `mean` and `log sd` from the truth, a row a data set."""
    rows = []
    for i, y in enumerate(SETS):
        mean, sd = exact(y)
        given = tree.posterior.isel(data_set=i)
        for k, x in enumerate((given["mean"].values, np.log(given["sd"].values))):
            root = np.sqrt(float(effective_sample_size(x)))
            rows.append([(x.mean() - mean[k]) * root / sd[k], (x.std() / sd[k] - 1) * root])
    return np.array(rows)


def after_jumps(tree: xr.DataTree) -> xr.DataTree:
    """The draws after jumps: local moves bring what is wrong nearer to the posterior again."""
    is_jump = np.arange(tree.posterior.sizes["draw"]) % chains.BLOCK >= chains.NUM_LOCAL
    return tree.isel(draw=is_jump)


def test_draws_are_those_of_every_posterior(poor: AmortisedPosterior) -> None:
    # 4 data sets in batches of 3: the last batch is filled up
    tree = poor.correct(KEY, model, SETS, num_samples=320, num_chains=10, **SETTINGS)
    assert tree.posterior["sd"].dims == ("chain", "draw", "data_set")
    assert tree.posterior["sd"].shape == (10, 320, 4)
    assert tree.attrs["exact"] == 1
    assert np.abs(standard_errors(tree)).max() < 4
    assert np.abs(standard_errors(after_jumps(tree))).max() < 4
    stats = tree.sample_stats
    assert stats["pareto_k"].dims == ("data_set",)
    assert (stats["jump_acceptance_rate"] > 0.02).all()
    assert (stats["local_acceptance_rate"] > 0.2).all()


@pytest.mark.slow
def test_a_wrong_density_of_the_proposal_is_seen(
    poor: AmortisedPosterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "weigh", lambda proposal, key, drafts: 2 * drafts.log_learned)
    jax.clear_caches()
    tree = poor.correct(KEY, model, SETS, num_samples=320, num_chains=10, **SETTINGS)
    jax.clear_caches()
    assert np.abs(standard_errors(after_jumps(tree))).max() > 8


def test_bad_data_sets_are_refused(poor: AmortisedPosterior) -> None:
    with pytest.raises(ValueError, match="condition of 2 numbers, but 3 were simulated"):
        poor.correct(KEY, model, SETS[:, :2], **SETTINGS)
    with pytest.raises(ValueError, match=r"the data sets \[1\] hold values that are not finite"):
        poor.correct(KEY, model, np.where(SETS == 1.0, np.nan, SETS)[[2, 0]], **SETTINGS)
    with pytest.raises(ValueError, match="first axis is that of the data sets"):
        poor.correct(KEY, model, np.zeros((0, 3)), **SETTINGS)
    with pytest.raises(ValueError, match="the data lack y"):
        poor.correct(KEY, model, {"z": SETS}, **SETTINGS)
    with pytest.raises(ValueError, match="num_samples"):
        poor.correct(KEY, model, SETS, num_samples=0, **SETTINGS)

    def other(y: Any) -> None:
        theta = numpyro.sample("theta", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(theta, 1.0).expand([3]).to_event(1), obs=y)

    with pytest.raises(ValueError, match="the same sites"):
        poor.correct(KEY, other, SETS, **SETTINGS)


def test_few_effective_draws_are_warned_of() -> None:
    draws = np.random.default_rng(0).normal(size=(4, 200, 3))
    draws[:, :, 1] = np.repeat(draws[:, :8, 1], 25, axis=1)
    with pytest.warns(UserWarning, match=r"1 of 3 data sets .*, data set 1 the fewest"):
        correct.warn_if_few({"x": draws}, np.array([0.1, 0.9, 0.2]))
