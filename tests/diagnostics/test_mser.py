import numpy as np
import pytest

from numpyro_score.diagnostics.mser import BATCH, SHORTEST_REST, mser


def by_definition(y):
    """The first minimum of MSER over numbers of batches, one number at a time."""
    m = len(y)
    values = [np.sum((y[k:] - y[k:].mean()) ** 2) / (m - k) ** 2 for k in range(m - SHORTEST_REST)]
    return BATCH * int(np.argmin(values))


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_is_its_definition(offset):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1, 203)) + 5 * np.exp(-np.arange(203) / 20) + offset
    together, each = mser(x)
    expected = [by_definition(row[0, :200].reshape(-1, BATCH).mean(axis=1)) for row in x]
    assert together.num_draws.tolist() == expected
    assert each.num_draws[:, 0].tolist() == expected


def test_pooling_finds_what_one_chain_hides():
    """The minimum of the sum varies less than that of one chain, and is where the start ends."""
    x = np.random.default_rng(1).normal(size=(100, 16, 500))
    x[..., :100] += 1.0
    together, each = mser(x)
    assert np.abs(together.num_draws - 100).mean() < 3
    assert np.abs(together.num_draws - 100).mean() < np.abs(each.num_draws - 100).mean()


def test_a_drift_that_never_ends_is_not_trusted():
    x = np.linspace(0, 10, 400) + np.random.default_rng(2).normal(size=(4, 400)) * 0.01
    together, each = mser(x)
    assert not together.is_trusted
    assert not each.is_trusted.any()


def test_too_few_draws():
    with pytest.raises(ValueError, match=r"at least 50 draws.*got 49.*run longer"):
        mser(np.zeros((2, 49)))
