"""Expectations `E[f(x)]` under a target whose values are known.

An estimate from `n` independent draws has Monte Carlo standard error `sd / sqrt(n)`, where `sd` is
the target's standard deviation of `f`. A posterior's reference value, from a long run, has a
standard error of its own. Both are stored with the value, as in TFP's Inference Gym
(https://github.com/tensorflow/probability, `discussion/inference_gym`).
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from typing import Any, final

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float

type Draws = Mapping[str, Any]
"""Variable name -> array of draws `(..., *event)`, numpy or jax, with any leading dimensions."""


def _as_float64(values: ArrayLike) -> Float[np.ndarray, "..."]:
    return np.asarray(values, dtype=np.float64)


@final
class Expectation(eqx.Module):
    """A named function of a target's draws and its expectation under the target.

    Parameters
    ----------
    name
        such as "mean", "second_moment" or "mode_weight".
    variable
        the variable that `fn` reads.
    fn
        maps draws `{variable: (..., *event)}` to values `(..., *shape)`; takes numpy and jax
        arrays.
    truth
        the expectation of `fn`, shape `(*shape)`.
    sd
        the target's standard deviation of `fn`, in units of which errors are reported, shape
        `(*shape)`, positive.
    standard_error
        the standard error of `truth`, shape `(*shape)`; 0 where it is exact.

    Raises
    ------
    ValueError
        `truth`, `sd` and `standard_error` differ in shape, or are not finite, or an `sd` is
        not positive, or a `standard_error` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> mean, second = moments("x", mean=np.zeros(2), second=np.ones(2), fourth=np.full(2, 3.0))
    >>> values = mean.fn({"x": np.array([[1.0, 2.0], [3.0, 4.0]])})  # two draws of shape (2,)
    >>> error = np.mean(values, axis=0) - mean.truth
    >>> [float(e) for e in error / mean.sd]
    [2.0, 3.0]
    """

    name: str = eqx.field(static=True)
    variable: str = eqx.field(static=True)
    fn: Callable[[Draws], Any]
    truth: Float[np.ndarray, "*shape"]
    sd: Float[np.ndarray, "*shape"]
    standard_error: Float[np.ndarray, "*shape"]

    def __init__(
        self,
        name: str,
        variable: str,
        fn: Callable[[Draws], Any],
        truth: ArrayLike,
        sd: ArrayLike,
        standard_error: ArrayLike | None = None,
    ):
        self.name = name
        self.variable = variable
        self.fn = fn
        self.truth = _as_float64(truth)
        self.sd = _as_float64(sd)
        if standard_error is None:
            standard_error = np.zeros_like(self.truth)
        self.standard_error = _as_float64(standard_error)

    def __check_init__(self) -> None:
        what = f"expectation {self.name!r} of {self.variable!r}"
        shapes = (self.truth.shape, self.sd.shape, self.standard_error.shape)
        if len(set(shapes)) != 1:
            raise ValueError(
                f"{what}: truth, sd and standard_error have shapes {shapes[0]}, {shapes[1]} and "
                f"{shapes[2]}; give all three the shape of one value of fn"
            )
        if not all(np.isfinite(a).all() for a in (self.truth, self.sd, self.standard_error)):
            raise ValueError(
                f"{what}: truth, sd and standard_error must be finite; choose a function whose "
                "variance under the target is finite"
            )
        if not (self.sd > 0).all():
            raise ValueError(f"{what}: sd must be positive, got {self.sd}")
        if not (self.standard_error >= 0).all():
            raise ValueError(
                f"{what}: standard_error must be >= 0 (0 where the truth is exact), got "
                f"{self.standard_error}"
            )


def _power(draws: Draws, variable: str, power: int) -> Any:
    return draws[variable] ** power


_POWERS = {"mean": 1, "second_moment": 2}


def _moment(
    name: str,
    variable: str,
    truth: ArrayLike,
    sd: ArrayLike,
    standard_error: ArrayLike | None = None,
) -> Expectation:
    fn = partial(_power, variable=variable, power=_POWERS[name])
    return Expectation(name, variable, fn, truth, sd, standard_error)


def moments(
    variable: str, mean: ArrayLike, second: ArrayLike, fourth: ArrayLike
) -> tuple[Expectation, Expectation]:
    """The expectations "mean" and "second_moment" of a variable, from its exact raw moments.

    Parameters
    ----------
    variable
        the variable's name.
    mean
        `E[x]`, shape of one draw of the variable.
    second
        `E[x^2]`, elementwise, same shape.
    fourth
        `E[x^4]`, elementwise, same shape.

    Raises
    ------
    ValueError
        as `Expectation`, and so for moments that no distribution has.

    Examples
    --------
    >>> mean, second = moments("x", mean=1.0, second=2.0, fourth=10.0)  # N(1, 1)
    >>> float(mean.sd), float(second.truth), round(float(second.sd) ** 2, 6)
    (1.0, 2.0, 6.0)
    """
    m1, m2, m4 = _as_float64(mean), _as_float64(second), _as_float64(fourth)
    return (
        _moment("mean", variable, m1, np.sqrt(m2 - m1**2)),
        _moment("second_moment", variable, m2, np.sqrt(m4 - m2**2)),
    )


def reference_expectations(name: str) -> tuple[Expectation, ...]:
    """The stored means and second moments of a posterior, from `reference/<name>.json` here.

    The file says how its values were computed; `examples/make_reference_moments.py` computes them
    again.

    Parameters
    ----------
    name
        the file's name without its suffix.

    Raises
    ------
    ValueError
        there is no such file; the message lists the known names.

    Examples
    --------
    >>> known = reference_expectations("eight_schools")
    >>> [(e.name, e.variable, e.truth.shape) for e in known][:2]
    [('mean', 'mu', ()), ('second_moment', 'mu', ())]
    """
    folder = resources.files(__package__) / "reference"
    file = folder / f"{name}.json"
    if not file.is_file():
        known = sorted(f.name.removesuffix(".json") for f in folder.iterdir())
        raise ValueError(
            f"no reference moments for {name!r}; known are: {', '.join(known)}. Compute new ones "
            "with examples/make_reference_moments.py"
        )
    stored = json.loads(file.read_text(encoding="utf-8"))
    return tuple(
        _moment(
            row["name"],
            row["variable"],
            *(np.asarray(row[key]) for key in ("truth", "sd", "standard_error")),
        )
        for row in stored["expectations"]
    )
