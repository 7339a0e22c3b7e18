import arviz as az
import numpy as np
import pytest
from arviz_base import from_dict

from numpyro_score.diagnostics import judge, quick_check

RNG = np.random.default_rng(0)


def test_exact_draws_are_found_fine(tree):
    verdict = judge(tree(x=RNG.normal(size=(4, 1000, 5))))
    assert verdict.is_converged
    assert verdict.ess_needed == 400


@pytest.mark.parametrize("shift", [0.5, 5.0])
def test_a_chain_elsewhere_is_seen(tree, shift):
    x = RNG.normal(size=(4, 1000))
    x[2] += shift
    verdict = judge(tree(fine=RNG.normal(size=(4, 1000)), x=x))
    assert not verdict.has_mixed


def test_few_effective_draws_are_seen_where_chains_agree(tree):
    verdict = judge(tree(x=RNG.normal(size=(16, 60))))
    assert verdict.rhat_max < 1.05
    assert not verdict.has_enough_draws


def test_a_value_that_is_not_finite_forbids_all_trust(tree):
    x = RNG.normal(size=(4, 100))
    broken = x.copy()
    broken[1, 3] = np.inf
    verdict = judge(tree(x=x, broken=broken))
    assert verdict.num_nonfinite == 1
    assert not verdict.has_mixed


@pytest.mark.parametrize("shape", [(1, 100), (4, 3), (4, 1)])
def test_too_little_to_tell_is_not_called_converged(tree, shape):
    verdict = judge(tree(x=RNG.normal(size=shape)))
    assert np.isnan(verdict.rhat_max)
    assert not verdict.is_converged


def test_chains_that_never_move_are_counted(tree):
    x = RNG.normal(size=(4, 100, 2))
    x[0] = x[0, :1]
    verdict = judge(tree(x=x))
    assert verdict.num_stuck_chains == 1
    # a chain that moves in one coordinate is not stuck
    y = RNG.normal(size=(4, 100))
    assert judge(tree(x=x, y=y)).num_stuck_chains == 0


def test_attributes_of_a_run_are_read(tree):
    dt = tree(x=RNG.normal(size=(4, 100)))
    assert judge(dt).is_exact is None
    assert judge(dt).num_divergent is None
    dt.attrs.update(exact=0, complete=0)
    dt["sample_stats"] = from_dict(
        {"sample_stats": {"diverging": np.eye(4, 100, dtype=bool)}}
    ).sample_stats
    verdict = judge(dt)
    assert (verdict.is_exact, verdict.is_complete, verdict.num_divergent) == (False, False, 4)


@pytest.mark.parametrize("look", [judge, quick_check])
def test_divergences_that_are_stored_as_text(look):
    x = np.random.default_rng(0).normal(size=(4, 100))
    for kind in ("U5", "O"):
        marks = np.full((4, 100), "False", dtype=kind)
        dt = az.from_dict({"posterior": {"x": x}, "sample_stats": {"diverging": marks}})
        with pytest.raises(ValueError, match=r"diverging .* holds 'False', but must hold booleans"):
            look(dt)
    numbers = np.zeros((4, 100), int)
    dt = az.from_dict({"posterior": {"x": x}, "sample_stats": {"diverging": numbers}})
    assert judge(dt).num_divergent == 0
