"""The checks that run under every other test find what they are there for."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import jax.numpy as jnp
import jaxtyping
import pytest
from beartype.roar import BeartypeCallHintViolation
from jax import Array
from jaxtyping import Float, TypeCheckError

from numpyro_score.checks import check_whole
from numpyro_score.targets import two_modes
from tests.shape_checks import names_an_array

type Vector = Float[Array, " dim"]


def test_a_wrong_shape_is_found() -> None:
    with pytest.raises(TypeCheckError):
        two_modes().logdensity_fn(jnp.zeros((2, 2)))


def test_a_wrong_type_is_found_where_there_are_no_arrays() -> None:
    wrong: Any = 3
    with pytest.raises(BeartypeCallHintViolation):
        check_whole(wrong, 10)
    with patch.object(jaxtyping.config, "jaxtyping_disable", True):
        check_whole(wrong, 10)


@pytest.mark.parametrize(
    ("hint", "is_one"),
    [
        (Vector, True),
        (dict[str, Vector] | None, True),
        (Callable[[Vector], int], True),
        ("a name", True),
        (Callable[[int], None], False),
        (list[str] | None, False),
        (Callable[..., Any], False),
    ],
)
def test_annotations_of_arrays_are_told_from_others(hint: Any, is_one: bool) -> None:
    assert names_an_array(hint) == is_one
