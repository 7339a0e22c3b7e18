"""`numpyro-score fit`, from a file of draws to a file with a score."""

from pathlib import Path
from typing import Any

import arviz as az
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.cli import main
from numpyro_score.training.io import about_model, load

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def draws(tmp_path_factory: Any) -> Path:
    """A Gaussian of sd 2 in three coordinates, and a count."""
    path = tmp_path_factory.mktemp("draws") / "draws.nc"
    posterior = {
        "mu": 2 * RNG.normal(size=(2, 500)),
        "theta": 2 * RNG.normal(size=(2, 500, 2)),
        "count": RNG.integers(0, 5, (2, 500)),
    }
    az.from_dict({"posterior": posterior}).to_netcdf(path)
    return path


def command(draws: Path, out: Path, *options: str) -> int:
    settings = ["--steps", "200", "--batch-size", "64", "--width", "16", "--no-progress"]
    return main(["fit", str(draws), "--out", str(out), *settings, *options])


def test_draws_to_score(draws: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "score.eqx"
    assert command(draws, out, "--checkpoint", str(tmp_path / "training")) == 0
    assert "mu, theta (2,)" in capsys.readouterr().out
    assert about_model(out)["variables"] == ["mu", "theta (2,)"]
    model = load(out)
    x = jnp.array([2.0, -1.0, 0.5])
    t = model.noise.time_of(1.0)
    np.testing.assert_allclose(model(x, t), -x / (4 + 1), atol=0.15)


def test_one_variable(draws: Path, tmp_path: Path) -> None:
    out = tmp_path / "score.eqx"
    assert command(draws, out, "--variable", "mu") == 0
    assert load(out)(jnp.ones(1), 0.5).shape == (1,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variable", "nu"], "has no variable nu; it has mu, theta, count"),
        (["--variable", "count"], "count hold no real numbers"),
        (["--batch-size", "1000"], "only 900 points"),
        (["--out", "/no/such/folder/score.eqx"], "does not exist"),
    ],
)
def test_bad_input(
    draws: Path, tmp_path: Path, options: list[str], message: str, capsys: Any
) -> None:
    assert command(draws, tmp_path / "score.eqx", *options) == 2
    assert message in capsys.readouterr().err


def test_no_draws(tmp_path: Path, capsys: Any) -> None:
    assert command(tmp_path / "nothing.nc", tmp_path / "score.eqx") == 2
    assert "there is no file" in capsys.readouterr().err
