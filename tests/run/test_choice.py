"""What takes the place of a kernel that does not suffice."""

import weakref
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpyro.infer import NUTS

from numpyro_score.run.choice import Choice, GivenUpError, Otherwise, restarting
from numpyro_score.run.forecast import Seen

SEEN = Seen({"x": np.zeros((4, 100))}, 4, 100, 20.0, 400, 4_000)


def kernel() -> NUTS:
    return NUTS(potential_fn=lambda x: x @ x)


def always(seen: Seen) -> str:
    return f"after {seen.num_draws} draws"


def never(_: Seen) -> str:
    return ""


def given_up(choice: Choice, num_grad: int) -> Choice:
    with pytest.raises(GivenUpError) as caught:
        choice.check(SEEN, {"num_grad_given_up": num_grad, "seconds_given_up": 0.5})
    return caught.value.choice


def test_one_after_the_other_takes_its_place() -> None:
    then = Otherwise(always, kernel, "B", (Otherwise(always, kernel, "C"),))
    first = Choice(kernel(), "A", (Otherwise(never, kernel, "not needed"), then))
    assert first.attributes == {"kernel_choice": "A"}
    second = given_up(first, 7)
    assert second.kernel is not first.kernel
    assert second.attributes == {
        "kernel_choice": "B: after 100 draws",
        "num_grad_given_up": 7,
        "seconds_given_up": 0.5,
    }
    third = given_up(second, 5)
    # what both have cost
    assert third.attributes == {
        "kernel_choice": "C: after 100 draws",
        "num_grad_given_up": 12,
        "seconds_given_up": 1.0,
    }
    # nothing is left to take its place
    third.check(SEEN, {})


def test_a_kernel_that_suffices_is_kept() -> None:
    Choice(kernel(), "A", (Otherwise(never, kernel, "B"),)).check(SEEN, {})


def test_a_run_restarts_until_a_choice_suffices() -> None:
    choices = [Choice(kernel(), name) for name in "ABC"]

    def run(kernel: Any, *, length: int) -> tuple[Any, int]:
        if kernel is choices[-1]:
            return kernel, length
        raise GivenUpError(choices[choices.index(kernel) + 1])

    assert restarting(run)(choices[0], length=3) == (choices[2], 3)
    assert restarting(run)(kernel=choices[0], length=3) == (choices[2], 3)


SECOND = Choice(kernel(), "B: too slow")


def drawn() -> xr.DataTree:
    x = np.random.default_rng(0).normal(size=(4, 500))
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"x": (("chain", "draw"), x)})})


def failing(ending: Any) -> Any:
    """A run that is given up, where the other one ends so."""

    def run(kernel: Any) -> Any:
        if kernel is SECOND and isinstance(ending, xr.DataTree):
            return ending
        if kernel is SECOND:
            raise ending
        given_up = GivenUpError(SECOND)
        given_up.finish = drawn
        raise given_up

    return restarting(run)


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (ValueError("no memory"), "ValueError: no memory"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        # the interrupt came during its warmup
        (xr.DataTree.from_dict({"warmup_posterior": xr.Dataset()}), "interrupted before its first"),
    ],
)
def test_where_the_other_run_fails_the_first_one_s_draws_are_kept(ending: Any, words: str) -> None:
    with pytest.warns(UserWarning, match=rf"restarted with B: too slow failed \({words}"):
        tree = failing(ending)(Choice(kernel(), "A"))
    assert dict(tree.posterior.sizes) == {"chain": 4, "draw": 500}


def test_buffers_of_the_first_run_are_freed_before_the_other_begins() -> None:
    first: list[Any] = []

    def run(kernel: Any) -> Any:
        if kernel is SECOND:
            return first[0]()
        buffers = np.zeros(10)
        first.append(weakref.ref(buffers))
        raise GivenUpError(SECOND)

    assert restarting(run)(Choice(kernel(), "A")) is None


def test_a_warning_that_is_an_error_is_no_failure_of_the_run() -> None:
    with pytest.raises(UserWarning, match="chains disagree"):
        failing(UserWarning("chains disagree"))(Choice(kernel(), "A"))
