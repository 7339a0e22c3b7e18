"""The finding that chains from dispersed starts ended where a run has no draws."""

import pytest

from numpyro_score.diagnostics.elsewhere import FOUND, LOOKED, MIN_FOUND, WORDINGS, elsewhere


@pytest.mark.parametrize("num", [0, MIN_FOUND - 1])
def test_one_chain_may_be_astray(num: int) -> None:
    assert elsewhere({FOUND: num, LOOKED: 32}) == []


def test_a_run_that_did_not_look_has_found_nothing() -> None:
    assert elsewhere({}) == []


def test_what_was_found_and_what_to_do() -> None:
    (found,) = elsewhere({FOUND: 9, LOOKED: 32})
    words = WORDINGS[found.code](found)
    assert "9 of 32 short chains" in words.finding
    assert "GlobalLocal" in words.advice
