"""What samplers achieve with exact and learned scores. The scripts that print it are run here."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_sampling_error_follows_score_error() -> None:
    """A straight line below the bound of theory, but for the floor of the histogram."""
    rows, floor = script("benchmarks/samplers.py").score_error(num=100_000)
    assert floor < 0.015
    for name in ("shift", "wave"):
        error, found, bound = np.array(rows[name]).T
        assert np.corrcoef(error, found)[0, 1] ** 2 > 0.98
        assert (found < bound + 2 * floor).all()
        assert found[-1] > 5 * floor


@pytest.mark.slow
def test_the_slow_mixing_toy() -> None:
    rows = script("benchmarks/samplers.py").toy(seeds=1)
    langevin = rows["Langevin, no levels"][1][0]
    assert abs(langevin - 0.508) < 0.02
    exact, learned = rows["annealed, 10 levels to 1"][1]
    assert abs(exact - 0.78) < 0.015
    assert 0.76 < learned < 0.80
    assert abs(rows["reverse SDE"][1][1] - 0.8) < 0.015


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 10])
def test_twenty_evaluations_are_worth_five_hundred(dim: int) -> None:
    """The flow's second-order method does as well as Euler and Maruyama's 500."""
    rows = script("benchmarks/samplers.py").quality(dim, repeats=3)
    of_euler, floor = rows["Euler-Maruyama, 500"][1], rows["exact draws"][1]
    evaluations, found = rows["the same, denoised at .2"]
    assert evaluations == 20
    spread = np.sqrt((np.var(found, ddof=1) + np.var(of_euler, ddof=1)) / 3)
    assert np.mean(found) < np.mean(of_euler) + 4 * spread
    assert np.mean(found) < 2.5 * np.mean(floor)
    for name in ("DPM-Solver++ 2M, flow", "DPM-Solver++ 2M, SDE"):
        assert np.mean(rows[name][1]) < 0.7 * np.mean(rows["Euler-Maruyama"][1])
