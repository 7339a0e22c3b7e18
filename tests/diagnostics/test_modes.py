from itertools import pairwise

import jax
import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics import assess
from numpyro_score.diagnostics.clustering import find_modes
from numpyro_score.diagnostics.mixing import mixing
from numpyro_score.diagnostics.modes import modes
from numpyro_score.diagnostics.valley import LIMIT, valley
from numpyro_score.targets import banana, funnel, mixture_1d, two_modes

NUM_CHAINS, NUM_DRAWS = 4, 1000


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def exact(target, seed):
    draws = target.sample(jax.random.key(seed), NUM_CHAINS * NUM_DRAWS)["x"]
    return np.asarray(draws, np.float64).reshape(NUM_CHAINS, NUM_DRAWS, -1)


def hopping(rng, probability, num_draws=NUM_DRAWS):
    """Chains that switch between +-5 with some probability a step; mode of every draw."""
    mode = np.cumsum(rng.random((NUM_CHAINS, num_draws)) < probability, axis=1) % 2
    return mode, rng.normal(size=(NUM_CHAINS, num_draws, 2)) + 10 * mode[..., None] - 5


@pytest.mark.parametrize(
    ("make", "num_modes"),
    [
        (lambda seed: normal(seed, NUM_CHAINS, NUM_DRAWS, 10), 1),
        (lambda seed: np.random.default_rng(seed).uniform(size=(NUM_CHAINS, NUM_DRAWS, 3)), 1),
        (lambda seed: np.random.default_rng(seed).standard_cauchy((NUM_CHAINS, NUM_DRAWS, 2)), 1),
        (lambda seed: exact(banana(), seed), 1),
        (lambda seed: exact(funnel(), seed), 1),
        (lambda seed: exact(two_modes(), seed), 2),
        (lambda seed: exact(mixture_1d(), seed), 2),
    ],
    ids=["normal", "uniform", "cauchy", "banana", "funnel", "two_modes", "mixture_1d"],
)
def test_modes_of_known_number(tree, make, num_modes):
    for seed in range(3):
        result = modes(tree(x=make(seed)))
        assert result.attrs["num_modes"] == num_modes
        assert result.attrs["findings"] == []


def test_eight_modes_on_a_ring(tree):
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(8) / 8
    place = 10 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weights = np.arange(1, 9) / 36
    mode = rng.choice(8, size=(NUM_CHAINS, NUM_DRAWS), p=weights)
    result = modes(tree(x=place[mode] + 0.7 * rng.normal(size=(NUM_CHAINS, NUM_DRAWS, 2))))
    assert result.attrs["num_modes"] == 8
    error = np.abs(result.occupancy.values - weights[::-1]) / result.mcse.values
    assert error.max() < 4.5
    np.testing.assert_allclose(result.mcse, np.sqrt(weights * (1 - weights) / 4000)[::-1], rtol=0.3)
    expected = -np.sum(weights * np.log(weights)) / np.log(8)
    assert result.entropic_coverage.item() == pytest.approx(expected, abs=0.02)


def test_one_bimodal_parameter_among_many(tree):
    x = normal(1, NUM_CHAINS, NUM_DRAWS, 40)
    x[..., 17] += 8 * (normal(2, NUM_CHAINS, NUM_DRAWS) > 0.5)
    result = modes(tree(x=x))
    assert result.attrs["num_modes"] == 2
    apart = np.abs(result["mean"].diff("mode").values[0])
    assert result.parameter.values[apart > 1].tolist() == ["x[17]"]


def test_the_sum_of_a_simplex_has_no_modes(tree):
    """It is 1 up to rounding, whose steps are no valleys."""
    rng = np.random.default_rng(5)
    share = rng.dirichlet([40.0, 50.0], size=(NUM_CHAINS, NUM_DRAWS)).astype(np.float32)
    assert modes(tree(w=share)).attrs["num_modes"] == 1
    mode, x = hopping(rng, 0.2)
    label = np.where(mode[..., None], share, share[..., ::-1])
    assert modes(tree(w=label, x=x)).attrs["num_modes"] == 2


def test_jumps_are_counted(tree):
    mode, x = hopping(np.random.default_rng(3), 0.2)
    result = modes(tree(x=x))
    largest_first = mode if mode.mean() < 0.5 else 1 - mode
    np.testing.assert_array_equal(result.mode_of, largest_first)
    expected = np.zeros((2, 2), int)
    for chain in largest_first:
        for before, after in pairwise(chain):
            expected[before, after] += 1
    np.testing.assert_array_equal(result.jumps, expected)
    num_steps = NUM_CHAINS * (NUM_DRAWS - 1)
    jumps = expected[0, 1] + expected[1, 0]
    assert result.jumps_per_1000.item() == pytest.approx(1000 * jumps / num_steps)
    assert result.attrs["findings"] == []


def test_error_of_a_share_allows_for_rare_jumps(tree):
    """The indicator of a chain that switches with probability p has tau = (1 - p) / p."""
    share, mcse = [], []
    rng = np.random.default_rng(4)
    for _ in range(30):
        result = modes(tree(x=hopping(rng, 0.05)[1]), centres={"x": [[5.0, 5.0], [-5.0, -5.0]]})
        share.append(result.occupancy.values[0])
        mcse.append(result.mcse.values[0])
    spread = np.std(np.array(share) - 0.5)
    assert np.mean(mcse) == pytest.approx(np.sqrt(0.25 * 19 / 4000), rel=0.2)
    assert spread == pytest.approx(np.mean(mcse), rel=0.5)


def test_rare_jumps_are_not_trusted(tree):
    result = modes(tree(x=hopping(np.random.default_rng(5), 0.003)[1]))
    assert result.attrs["num_modes"] == 2
    assert any("unreliable" in finding for finding in result.attrs["findings"])
    assert (result.ess < 400).all()


def test_how_many_draws_rare_jumps_need(tree):
    """As many as the sample size of the share grows in proportion to."""
    rng = np.random.default_rng(11)
    centres = {"x": [[5.0, 5.0], [-5.0, -5.0]]}
    draws = tree(x=hopping(rng, 0.02)[1])
    result = modes(draws, centres=centres)
    (found,) = assess(draws).with_result("modes", result).findings["modes"]
    assert found.code == "few_jumps"
    # 4,000 draws at tau = .98 / .02 = 49 are 82 of 400
    assert found.details["draws"] == pytest.approx(1000 * 49 / 10, rel=0.4)
    enough = modes(tree(x=hopping(rng, 0.02, 10_000)[1]), centres=centres)
    assert enough.ess.min() == pytest.approx(40_000 / 49, rel=0.3)
    assert enough.attrs["findings"] == []


def test_shares_are_pooled_over_chains(tree):
    """A hundred chains of few draws each are enough together."""
    mode = np.random.default_rng(12).random((100, 50)) < 0.3
    x = normal(13, 100, 50) + 10 * mode
    result = modes(tree(x=x))
    assert result.attrs["ess_needed"] == 400
    assert 2000 < result.ess.min() < 10_000
    assert result.attrs["findings"] == []


@pytest.mark.parametrize("others_mix", [True, False])
def test_a_chain_in_the_lesser_mode(tree, others_mix):
    """R-hat sees it too."""
    x = exact(two_modes(), 6) if others_mix else 5 + normal(6, NUM_CHAINS, NUM_DRAWS, 2)
    x[2] = -5 + normal(7, NUM_DRAWS, 2)
    dt = tree(x=x)
    result = modes(dt)
    assert result.attrs["findings"][0].startswith("The chains are in different modes")
    assert result.chain_occupancy.values[2].tolist() == [0.0, 1.0]
    assert any("disagree on x" in finding for finding in mixing(dt).attrs["findings"])


def test_given_centres(tree):
    x = exact(two_modes(), 8)
    centres = {"x": np.array([[-5.0, -5.0], [5.0, 5.0], [40.0, 0.0]])}
    result = modes(tree(x=x, y=normal(9, NUM_CHAINS, NUM_DRAWS)), centres=centres)
    # in the order they are given in
    np.testing.assert_allclose(result.occupancy, [0.2, 0.8, 0.0], atol=0.03)
    assert result.attrs["findings"] == ["No draw is in modes 2."]
    assert result.parameter.values.tolist() == ["x[0]", "x[1]", "y"]
    assert np.isnan(result["mean"].values[2]).all()


@pytest.mark.parametrize(
    ("centres", "message"),
    [
        ({"z": [0.0]}, r"centres are of z, and the posterior has x"),
        ({}, "centres are of nothing"),
        ({"x": [0.0, 1.0]}, r"must have shape \(modes, \*\(2,\)\).*got \(2,\)"),
    ],
)
def test_centres_that_do_not_fit(tree, centres, message):
    with pytest.raises(ValueError, match=message):
        modes(tree(x=normal(10, 4, 100, 2)), centres=centres)


def test_slow_chains_are_not_taken_for_modes(tree, ar1):
    """Their draws are lumpy, and a valley between lumps would be found without the correction."""
    rng = np.random.default_rng(11)
    for _ in range(5):
        x = ar1(rng, 0.95, (3, NUM_CHAINS, NUM_DRAWS)).transpose(1, 2, 0)
        assert find_modes(x).num_modes == 1


def test_valleys_of_unimodal_distributions_are_shallow():
    rng = np.random.default_rng(12)
    for draw in (rng.normal, rng.uniform, rng.exponential, rng.standard_cauchy):
        assert max(valley(draw(size=size)) for size in (300, 4000) for _ in range(100)) < LIMIT
    bimodal = rng.normal(size=4000) + 5 * (rng.random(4000) < 0.2)
    assert valley(bimodal) > LIMIT
    assert valley(np.ones(100)) == 0


def test_unusual_draws(tree):
    still = np.ones((4, 100))
    assert modes(tree(x=still)).attrs["num_modes"] == 1
    assert modes(tree(k=np.random.default_rng(13).poisson(2, (4, 400)))).attrs["num_modes"] == 1
    broken = np.where(normal(14, 4, 100) > 2, np.nan, normal(14, 4, 100))
    result = modes(tree(broken=broken, x=normal(15, 4, 100)))
    assert any("broken: draws that are not finite" in n for n in result.attrs["notes"])
    for shape in ((4, 1), (1, 500), (4, 3)):
        assert modes(tree(x=normal(16, *shape))).attrs["is_flagged"] == 0
    with pytest.raises(ValueError, match="no group 'posterior'"):
        modes(xr.DataTree())


def near_constants():
    """What is constant but for rounding: a correlation matrix's diagonal, the sum of a simplex."""
    rng = np.random.default_rng(20)
    q = np.linalg.qr(rng.normal(size=(4, 400, 3, 3)))[0]
    yield "float64", np.einsum("cdij,cdij->cdi", q, q)
    simplex = rng.dirichlet(np.ones(50), size=(4, 400)).astype(np.float32)
    yield "float32", (simplex / simplex.sum(axis=-1, keepdims=True)).sum(axis=-1)


@pytest.mark.parametrize(("kind", "near"), list(near_constants()))
def test_a_constant_up_to_rounding_costs_the_others_nothing(tree, kind, near):
    side = np.where(np.arange(400) % 200 < 100, -5.0, 5.0)
    x = np.random.default_rng(21).normal(size=(4, 400)) + side
    assert np.ptp(near) > 0
    found = assess(tree(x=x, near=near))
    assert found.modes is not None
    assert found.modes.attrs["num_modes"] == 2
    assert not found.failures
    assert found.verdict.num_constant == near[0, 0].size
    assert any("constant up to rounding" in note for note in found.mixing.attrs["notes"])


def test_a_small_spread_is_no_rounding(tree):
    """A time of 2458000.123 +- .0005 in float64 is a parameter as any other."""
    x = 2458000.123 + 0.0005 * normal(22, 4, 400)
    verdict = assess(tree(x=x)).verdict
    assert verdict.num_constant == 0
    assert verdict.is_converged


def test_a_chain_that_never_moved_is_no_mode(tree):
    x = np.random.default_rng(8).normal(size=(4, 400, 3))
    x[2] = x[2, :1] + 6.0
    assert modes(tree(x=x)).attrs["num_modes"] == 1
    # where it moves a little, it is
    x[2] += 0.01 * np.random.default_rng(9).normal(size=(400, 3))
    assert modes(tree(x=x)).attrs["num_modes"] == 2
