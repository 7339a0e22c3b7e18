from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.checks import check_positive, check_whole


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3), np.int64(10**12)])
def test_whole_numbers_pass(value: Any) -> None:
    check_whole("num_steps", value, 3)


@pytest.mark.parametrize("value", [3.0, np.float64(3), True, np.bool_(True), "3", None, 1j])
@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_another_type_is_an_error_of_both_kinds(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"num_steps is .*, but must be a whole number of at least 1"):
        check_whole("num_steps", value)


def test_a_small_number_is_no_error_of_type() -> None:
    with pytest.raises(ValueError, match=r"dim is 1, but .* at least 2; give more") as caught:
        check_whole("dim", np.int64(1), 2, hint="give more")
    assert not isinstance(caught.value, TypeError)


@pytest.mark.parametrize("value", [0.1, 1, np.float32(2), jnp.ones(3), np.array([1, 2])])
def test_positive_numbers_pass(value: Any) -> None:
    check_positive("sd", value)


@pytest.mark.parametrize("value", [0.0, -1, np.nan, np.array([1.0, 0.0]), jnp.array(-1.0)])
def test_others_do_not(value: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s)sd is .* but must be above 0; start from 1"):
        check_positive("sd", value, hint="start from 1")


def test_an_infinite_number_is_refused() -> None:
    with pytest.raises(ValueError, match="sd is inf but must be finite"):
        check_positive("sd", np.inf)


@pytest.mark.parametrize("value", ["1", None, 1j, True])
def test_what_is_no_real_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="but must be a real number above 0"):
        check_positive("sd", value)


def test_a_traced_number_passes() -> None:
    @jax.jit
    def double(x: Any) -> Any:
        check_positive("x", x)
        return 2 * x

    assert double(-1.0) == -2.0
