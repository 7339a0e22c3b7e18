"""Numbers of the example on training with gradients."""

import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("target_score")


def test_the_mixture_has_the_least_variance(example: Example) -> None:
    scatter = example.names["scatter"]
    for name in ("denoising", "gradients alone"):
        assert (scatter["mixture"] <= scatter[name]).all()
    # at the small levels the noise says next to nothing
    assert (scatter["mixture"] < 0.05 * scatter["denoising"])[:3].all()


def test_the_loss_is_the_error_that_is_left(example: Example) -> None:
    names = example.names
    assert float(names["history"]["gradients"][-1]) < 0.2
    assert float(names["history"]["denoising"][-1]) > 0.2
    assert names["error"]["gradients"].mean() < 0.5 * names["error"]["denoising"].mean()
