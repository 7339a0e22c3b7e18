"""Numbers of the example on digits; in short its network has hardly learned."""

import runpy
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from tests.examples.conftest import EXAMPLES, Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("digits")


def test_the_loss_falls(example: Example) -> None:
    losses = example.names["losses"]
    assert losses[-1] < 0.9 * losses[0]


def test_every_sampler_draws_images(example: Example) -> None:
    names = example.names
    assert len(names["drawn"]) == 6
    for name, x in names["drawn"].items():
        assert x.shape == (names["NUM"], 1, 8, 8), name
        assert np.isfinite(x).all(), name
        # the first moments of grey levels are learned at once
        assert abs(float(np.mean(x)) - float(names["images"].mean())) < 0.35, name


def test_the_judge_can_judge(example: Example) -> None:
    assert example.names["accuracy"] > 0.93
    for probabilities in example.names["judged"].values():
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)


@pytest.mark.slow
def test_the_judge_sees_all_ten_in_what_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["digits.py"])
    mpl.use("Agg")
    names = runpy.run_path(str(EXAMPLES / "digits.py"))
    plt.close("all")
    judged = names["judged"]
    assert judged.pop("real").max(axis=1).mean() > 0.95
    for name, probabilities in judged.items():
        assert probabilities.max(axis=1).mean() > 0.8, name
        assert len(np.unique(probabilities.argmax(axis=1))) >= 9, name
