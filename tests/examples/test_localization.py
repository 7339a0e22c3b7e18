"""The experiment on unbalanced modes, in short."""

import runpy
from pathlib import Path

import numpy as np

EXAMPLE = Path(__file__).parents[2] / "examples" / "localization.py"


def test_two_networks_find_both_modes() -> None:
    run = runpy.run_path(str(EXAMPLE))["run"]
    ((width, _, two),), ((_, projected),) = run(dim=16, widths=(16,), num_steps=300, num_draws=300)
    assert width == 16
    # the plane through the mean leaves 7% of the large mode on the other side
    assert abs(two - 0.66) < 4.5 * np.sqrt(0.7 * 0.3 / 300) + 0.03
    # both modes are there, with next to nothing between
    between = np.mean((projected > -1.5) & (projected < -0.5))
    assert between < 0.12
