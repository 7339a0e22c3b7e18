"""Posteriors of posteriordb as targets of the leaderboard, with their reference as the truth."""

from functools import partial
from typing import Any

import numpy as np
import posteriordb_models

from numpyro_score.targets import Expectation, ModelTarget

ABOUT = "of posteriordb; truths by quadrature, or from 10,000 reference draws with their errors"


def of_folder(folder: str) -> dict[str, ModelTarget]:
    """The posteriors of a folder, by name.

    Parameters
    ----------
    folder
        With `reference.json` and `data/*.json`.
    """
    return {name: target(one) for name, one in posteriordb_models.load(folder).items()}


def target(posterior: posteriordb_models.Posterior) -> ModelTarget:
    """One posterior: means and second moments of all parameters whose reference is known.

    The reference has means and sds. The second moment about the reference mean is its variance,
    whose sd and standard error are those of a normal distribution.
    """
    known: list[Expectation] = []
    for variable in dict.fromkeys(label.partition("[")[0] for label in posterior.mean):
        labels = [one for one in posterior.mean if one.partition("[")[0] == variable]
        places = [_place(label) for label in labels]
        mean, sd, error = (
            np.array([values[label] for label in labels])
            for values in (posterior.mean, posterior.sd, posterior.error)
        )
        spread = np.sqrt(2.0) * sd**2
        known += [
            Expectation("mean", variable, partial(_values, variable, places), mean, sd, error),
            Expectation(
                "second_moment",
                variable,
                partial(_squares, variable, places, mean),
                sd**2,
                spread,
                spread / np.sqrt(posterior.num_reference),
            ),
        ]
    return ModelTarget(posterior.name, ABOUT, posterior.model, expectations=tuple(known))


def _place(label: str) -> tuple[int, ...]:
    _, bracket, rest = label.partition("[")
    return tuple(int(i) - 1 for i in rest[:-1].split(",")) if bracket else ()


def _values(variable: str, places: list[tuple[int, ...]], draws: Any) -> np.ndarray:
    return np.stack([np.asarray(draws[variable])[(..., *place)] for place in places], axis=-1)


def _squares(
    variable: str, places: list[tuple[int, ...]], mean: np.ndarray, draws: Any
) -> np.ndarray:
    return (_values(variable, places, draws) - mean) ** 2
