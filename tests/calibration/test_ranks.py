"""Ranks among draws, made uniform: ties, dependent draws, draws that are not finite."""

from pathlib import Path

import numpy as np
import pytest

from numpyro_score.calibration.ranks import rank
from numpyro_score.calibration.store import BatchStore
from numpyro_score.calibration.uniformity import p_value

NUM, CHAINS, DRAWS = 400, 4, 100


def chains(rng: np.random.Generator, keep: float) -> np.ndarray:
    """Autoregressive chains of variance 1, `(simulation, chain, draw, 1)`."""
    x = np.empty((NUM, CHAINS, DRAWS))
    x[..., 0] = rng.normal(size=(NUM, CHAINS))
    for t in range(1, DRAWS):
        noise = np.sqrt(1 - keep**2) * rng.normal(size=(NUM, CHAINS))
        x[..., t] = keep * x[..., t - 1] + noise
    return x[..., None]


def test_ranks_of_dependent_draws_are_uniform_once_thinned() -> None:
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=(NUM, 1)), chains(rng, 0.8)
    found = rank(truth, draws, rng)
    assert p_value(found.pit[:, 0]) > 0.01
    assert 20 < np.median(found.ess) < 120
    # without thinning the outermost ranks are too many
    whole = rank(truth, chains(rng, 0.98), rng, is_independent=True)
    assert p_value(whole.pit[:, 0]) < 0.01


def test_antithetic_draws_are_not_thinned_to_one() -> None:
    rng = np.random.default_rng(0)
    draws = chains(rng, -0.9)
    found = rank(rng.normal(size=(NUM, 1)), draws, rng)
    # those of the squares, (1 - 0.81) / (1 + 0.81) of all; the mean's estimate is negative
    assert 20 < np.median(found.ess) < 120
    # so that posteriors a quarter too narrow are seen
    narrow = rank(rng.normal(size=(NUM, 1)), 0.75 * draws, rng)
    assert p_value(narrow.pit[:, 0]) < 0.01


def test_chains_that_never_moved_are_one_draw_and_not_calibrated() -> None:
    rng = np.random.default_rng(0)
    draws = np.broadcast_to(rng.normal(size=(NUM, 1, 1, 1)), (NUM, 1, DRAWS, 1))
    found = rank(rng.normal(size=(NUM, 1)), draws, rng)
    np.testing.assert_array_equal(found.ess, 1.0)
    assert p_value(found.pit[:, 0]) < 0.01


def test_ties_are_broken_evenly() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size=(NUM, 1)).astype(float)
    draws = rng.integers(0, 2, size=(NUM, CHAINS, DRAWS, 1)).astype(float)
    found = rank(truth, draws, rng, is_independent=True)
    assert p_value(found.pit[:, 0]) > 0.01


def test_draws_that_are_not_finite_have_no_rank() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(5, CHAINS, DRAWS, 2))
    draws[3, 0, 0, 1] = np.nan
    found = rank(np.zeros((5, 2)), draws, rng)
    assert np.argwhere(np.isnan(found.pit)).tolist() == [[3, 1]]


def test_batches_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = rank(rng.normal(size=(3, 1)), rng.normal(size=(3, CHAINS, DRAWS, 1)), rng)
    BatchStore(tmp_path / "store", {"key": 1}).write(2, found)
    again = BatchStore(tmp_path / "store", {"key": 1})
    assert again.read(0) is None
    kept = again.read(2)
    assert kept is not None
    np.testing.assert_array_equal(kept.pit, found.pit)
    with pytest.raises(ValueError, match="another calibration: key differ"):
        BatchStore(tmp_path / "store", {"key": 2})
    with pytest.raises(ValueError, match="other files"):
        BatchStore(tmp_path, {"key": 1})
    with pytest.raises(ValueError, match="is a file"):
        BatchStore(tmp_path / "store" / "batch_2.npz", {"key": 1})


def test_what_differs_is_named(tmp_path: Path) -> None:
    BatchStore(tmp_path / "store", {"numbers": [300, 300, 4, 20]})
    with pytest.raises(ValueError, match=r"calibration: batch_size was 20, is 40; give"):
        BatchStore(tmp_path / "store", {"numbers": [300, 300, 4, 40]})


def test_a_damaged_batch_is_named(tmp_path: Path) -> None:
    store = BatchStore(tmp_path / "store", {"key": 1})
    (tmp_path / "store" / "batch_0.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"batch_0.npz is damaged .*; remove it"):
        store.read(0)
