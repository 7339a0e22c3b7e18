"""What training achieves, against known truths. The scripts that print the figures are run here."""

import importlib.util
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE
from numpyro_score.scores import GaussianMixtureScore, ResidualMLP, ScoreNetwork
from numpyro_score.training import fit
from numpyro_score.training.losses import ContinuousDenoising, LadderDenoising

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fisher_error(model: Any, known: Any, sigma: float) -> float:
    """`E|s - s*|^2 / E|s*|^2` under the noised distribution."""
    t = model.noise.time_of(sigma)
    clean = known.sample(jax.random.key(9), 2000)
    x = clean + sigma * jax.random.normal(jax.random.key(8), clean.shape)
    ours, true = (jax.jit(jax.vmap(lambda x, s=s: s(x, t)))(x) for s in (model, known.score))
    return float(jnp.sum((ours - true) ** 2) / jnp.sum(true**2))


class Known:
    """Four modes of sd 1 with unequal weights, and their score at every level."""

    def __init__(self, dim: int, noise: Any) -> None:
        rng = np.random.default_rng(0)
        corners = np.array([[-5.0, -5.0], [5.0, 5.0], [-5.0, 5.0], [5.0, -5.0]])
        self.means = corners if dim == 2 else rng.uniform(-8, 8, (4, dim))
        self.weights = np.array([0.1, 0.2, 0.3, 0.4])
        self.score = GaussianMixtureScore(self.weights, self.means, 1.0, noise)

    def sample(self, rng_key: Any, num: int) -> Any:
        key_mode, key_noise = jax.random.split(rng_key)
        mode = jax.random.categorical(key_mode, jnp.log(jnp.asarray(self.weights)), shape=(num,))
        means = jnp.asarray(self.means)[mode]
        return means + jax.random.normal(key_noise, means.shape)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "limit"), [(2, 0.05), (10, 0.1)])
@pytest.mark.parametrize("by_ladder", [False, True])
def test_score_of_four_modes(dim: int, limit: float, by_ladder: bool, capsys: Any) -> None:
    noise = VE(0.01, 40.0)
    known = Known(dim, noise)
    draws = known.sample(jax.random.key(0), 5000)
    network = ResidualMLP(dim, rng_key=jax.random.key(1))
    loss = LadderDenoising(np.geomspace(40.0, 0.01, 60)) if by_ladder else ContinuousDenoising()
    began = time.perf_counter()
    model, _ = fit(
        ScoreNetwork(network, noise, draws),
        draws,
        loss,
        rng_key=jax.random.key(2),
        num_steps=1500,
        progress=False,
    )
    seconds = time.perf_counter() - began
    errors = [fisher_error(model, known, sigma) for sigma in np.geomspace(0.05, 40.0, 12)]
    with capsys.disabled():
        print(f"\n  {dim} dimensions: {np.mean(errors):.4f} in {seconds:.1f} s")
    assert np.mean(errors) < limit


@pytest.mark.slow
def test_sigma_of_denoising() -> None:
    rows = np.array(script("benchmarks/noise_choice.py").choice_of_sigma())
    sigma, bias, variance = rows.T
    # at the small end the variance falls as 1 / sigma^2
    slope = np.polyfit(np.log(sigma[:3]), np.log(variance[:3]), 1)[0]
    assert -2.2 < slope < -1.8
    assert (np.diff(bias[2:]) > 0).all()
    assert bias[-1] > 0.5
    assert 0 < np.argmin(bias + variance) < len(sigma) - 1


@pytest.mark.slow
def test_data_on_a_line_need_noise() -> None:
    found = script("benchmarks/noise_choice.py").data_on_a_line()
    without, with_noise = found[0.0][0], found[0.01][0]
    # no end in sight: each quarter is far below the one before
    quarters = [part.mean() for part in np.array_split(without, 4)]
    assert (np.diff(quarters) < -1e5).all()
    last = with_noise[-len(with_noise) // 4 :]
    assert last.mean() == pytest.approx(found[0.01][1], rel=0.05)
    assert without[-25:].std() > 50 * last.std()


@pytest.mark.slow
def test_between_modes_noise_is_needed() -> None:
    alone, by_level = script("benchmarks/noise_choice.py").between_modes()
    assert alone[0] > 0.5
    assert alone[1] < 0.1
    for sigma, (middle, typical) in by_level.items():
        assert typical < 0.1
        if sigma >= 5:  # whose noise reaches between the modes, 7 from either
            assert middle < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CD-1", "CD-10", "PCD-10", "likelihood"])
def test_energy_of_four_modes(name: str) -> None:
    variation, divergence, masses = script("benchmarks/energies.py").mixture(name)
    assert variation < 0.2
    assert divergence < 0.1
    np.testing.assert_allclose(masses, [0.1, 0.2, 0.3, 0.4], atol=0.1)
