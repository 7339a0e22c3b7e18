"""Jumps of a proposal that misses something are warned of, and those of a good one are not."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics.jumps import HEAVY, LONG_REFUSAL, jump_tail, read_jumps
from numpyro_score.diagnostics.jumps_findings import heavy_tail
from numpyro_score.diagnostics.modes import modes
from numpyro_score.diagnostics.modes_findings import WORDINGS, findings
from numpyro_score.diagnostics.quick_check import quick_check
from numpyro_score.diagnostics.wording import remarks

NUM_CHAINS, NUM_DRAWS, EVERY = 8, 500, 5
LOG_EVIDENCE = 1.7


def run(seed, *, share=0.5, heavy_share=0.0, longest=3, **attrs):
    """Two modes of equal weight, of which the proposal gives the right one `share`.

    Of the draws in either mode, a part is where the target has far more than the proposal.
    """
    rng = np.random.default_rng(seed)
    shape = NUM_CHAINS, NUM_DRAWS
    is_right = rng.random(shape) < 0.5
    log_ratio = np.log(np.where(is_right, share, 1 - share) / 0.5)
    log_ratio = log_ratio + 0.3 * rng.normal(size=shape) - 0.3**2 / 2
    log_ratio = np.where(rng.random(shape) < heavy_share, -np.log(3 * HEAVY), log_ratio)
    lp = rng.normal(size=shape)
    jumped = np.broadcast_to((np.arange(NUM_DRAWS) + 1) % EVERY == 0, shape)
    rejections = np.full(shape, min(longest, 3))
    rejections[2, -1] = longest
    stats = {
        "lp": lp,
        "log_q": lp - LOG_EVIDENCE + log_ratio,
        "is_global": jumped,
        "global_accept_prob": np.where(jumped, 0.75, 0.0),
        "longest_rejection": rejections,
        "is_lost": np.zeros(shape, bool),
    }
    groups = {"posterior": {"x": 10.0 * is_right + rng.normal(size=shape)}, "sample_stats": stats}
    dt = az.from_dict(groups)
    dt.attrs.update({"exact": 1, "log_evidence": LOG_EVIDENCE, **attrs})
    return dt


def codes(dt):
    return [found.code for found in findings(modes(dt), None)]


def test_a_good_proposal_is_not_doubted():
    for seed in range(5):
        dt = run(seed)
        assert codes(dt) == ["modes"]
        assert quick_check(dt) == []
    result = modes(dt)
    # E[q / p] is 1 in both modes; 400 jumps each, sd of the ratio about .3
    np.testing.assert_allclose(result.proposed, 1.0, atol=4 * 0.35 / np.sqrt(350))
    assert result.jump_acceptance == 0.75
    assert result.lost == 0


def test_a_mode_that_is_hardly_proposed():
    dt = run(1, share=0.02)
    result = modes(dt)
    is_right = result["mean"].values[:, 0] > 5
    np.testing.assert_allclose(
        result.proposed.values[is_right], 0.04, atol=4 * 0.04 * 0.35 / np.sqrt(350)
    )
    assert codes(dt) == ["modes", "seldom_proposed"]
    (words,) = [one for one in remarks(findings(result, None), WORDINGS) if "hardly" in one.finding]
    assert "num_particles" in words.advice
    # what is not known is not doubted
    del dt.attrs["log_evidence"]
    assert codes(dt) == ["modes"]


def test_points_that_are_hardly_proposed():
    assert codes(run(2, heavy_share=0.06)) == ["modes", "heavy"]
    assert codes(run(2, heavy_share=0.005)) == ["modes"]


@pytest.mark.parametrize("longest", [LONG_REFUSAL - 1, LONG_REFUSAL])
def test_a_chain_that_refuses_many_jumps_in_a_row(longest):
    dt = run(3, longest=longest)
    expected = ["refused"] * (longest >= LONG_REFUSAL)
    assert codes(dt) == ["modes", *expected]
    found = quick_check(dt)
    assert [one.code for one in found] == expected
    for one in found:
        assert one.parameters == ("2",)
        assert one.value == longest


def test_doubts_from_learning_are_in_the_report():
    warned = "estimates disagree: raise num_particles.\na region was found by 7 of 900 starts."
    dt = run(4, learning_warnings=warned, num_regions_one_sided=2.0)
    assert codes(dt) == ["modes", "learning", "learning", "one_sided"]
    said = [remark.finding for remark in remarks(findings(modes(dt), None), WORDINGS)]
    assert any("found by 7 of 900 starts" in text for text in said)
    assert any("2 were found by annealed particles or" in text for text in said)
    # a note alone flags nothing
    assert modes(run(4, num_regions_one_sided=2.0)).attrs["is_flagged"] == 0


def test_runs_without_jumps():
    dt = az.from_dict({"posterior": {"x": np.random.default_rng(0).normal(size=(4, 100))}})
    assert read_jumps(dt, np.zeros((4, 100), int), 1) is None
    assert np.isnan(modes(dt).heavy)


@pytest.mark.parametrize("k", [0.85, 0.5, 0.2])
def test_pareto_k_is_that_under_the_proposal(k):
    dt = run(7)
    stats = dt["sample_stats"].to_dataset()
    # under the target, weights of shape k have shape k / (1 - k)
    log_weights = np.random.default_rng(7).exponential(k / (1 - k), stats["lp"].shape)
    rate = xr.full_like(stats["lp"], 0.3)
    stats = stats.assign(log_q=stats["lp"] - log_weights, global_accept_prob=rate)
    found = jump_tail(stats)
    # 85 of 800 jumps are the tail: the error of k / (1 - k) is 1 / (1 - k) / sqrt(85)
    assert abs(found - k) < 4 * (1 - k) / np.sqrt(85)
    assert jump_tail(stats.assign(global_accept_prob=rate + 0.6)) != jump_tail(stats)
    dt["sample_stats"] = xr.DataTree(stats)
    flagged = ["heavy_tail"] if k == 0.85 else []
    assert [found.code for found in heavy_tail(found)] == flagged
    assert [found.code for found in quick_check(dt)] == flagged
