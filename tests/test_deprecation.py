import inspect
import pickle

import pytest

from numpyro_score.deprecation import renamed_arguments


@renamed_arguments(eps="step_size", n="num_steps")
def walk(start: float, step_size: float = 0.1, *, num_steps: int = 1) -> float:
    """Where a walk ends."""
    return start + num_steps * step_size


class Walk:
    @renamed_arguments(eps="step_size")
    def __init__(self, step_size: float) -> None:
        self.step_size = step_size


def test_new_names_are_silent() -> None:
    assert walk(1.0, 0.5, num_steps=2) == walk(1.0, step_size=0.5, num_steps=2) == 2.0


def test_each_old_name_warns() -> None:
    with pytest.warns(DeprecationWarning, match="now called") as caught:
        assert walk(1.0, eps=0.5, n=2) == 2.0  # type: ignore[call-arg]
    assert ["'step_size'" in str(w.message) for w in caught] == [True, False]


def test_a_class() -> None:
    with pytest.warns(DeprecationWarning, match="Walk: the argument 'eps' is now called"):
        assert Walk(eps=2.0).step_size == 2.0  # type: ignore[call-arg]


def test_both_names_at_once() -> None:
    with pytest.raises(TypeError, match="walk: 'step_size' is given twice"):
        walk(1.0, step_size=0.5, eps=0.5)  # type: ignore[call-arg]


def test_the_function_still_looks_like_itself() -> None:
    assert list(inspect.signature(walk).parameters) == ["start", "step_size", "num_steps"]
    assert walk.__doc__ == "Where a walk ends."
    assert pickle.loads(pickle.dumps(walk)) is walk
