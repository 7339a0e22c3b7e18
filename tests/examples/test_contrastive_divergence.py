"""Numbers of the example on an energy of digits."""

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
    return run_example("contrastive_divergence")


def test_energies_tell_data_from_noise(example: Example) -> None:
    data, held_out, _, noise = example.names["course"][-1]
    assert data[0] < noise[0] - 5 * noise[1] / np.sqrt(100)
    # new digits are known too
    assert held_out[0] < noise[0] - 5 * noise[1] / np.sqrt(100)


def test_samples_come_to_the_energy_of_data(example: Example) -> None:
    course = example.names["course"]
    gap = np.abs(course[:, 2, 0] - course[:, 0, 0]) / np.abs(course[:, 3, 0] - course[:, 0, 0])
    assert gap[-1] < 0.5


def test_samples_look_more_like_digits_than_noise_does(example: Example) -> None:
    names = example.names
    assert names["accuracy"] > 0.9
    assert names["drawn"].shape == (100, 64)
    assert np.isfinite(names["drawn"]).all()
    assert names["classes"].sum() == 100


@pytest.mark.slow
def test_samples_are_taken_for_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["contrastive_divergence.py"])
    mpl.use("Agg")
    names = runpy.run_path(str(EXAMPLES / "contrastive_divergence.py"))
    plt.close("all")
    data, _, samples, noise = names["course"][-1, :, 0]
    assert (samples - data) / (noise - data) < 0.1
    assert names["confidence"] > 0.7
    assert (names["classes"] > 0).sum() >= 8
