"""Packages that only a part needs: the error names the extra that brings them."""

import sys

import jax.numpy as jnp
import pytest

from numpyro_score.extras import extra
from numpyro_score.noise import VE
from numpyro_score.samplers import probability_flow
from numpyro_score.training.checkpoint import Checkpoint


def test_without_diffrax_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = VE(sigma_min=0.1, sigma_max=10.0)
    flow = probability_flow(lambda x, t: -x, noise, (2,), num_steps=3)
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"diffrax: pip install 'numpyro-score\[ode\]'"):
        flow.log_prob(jnp.zeros(2))


def test_without_orbax_the_error_names_the_extra(monkeypatch, tmp_path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "orbax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "orbax", None)
    with pytest.raises(ImportError, match=r"orbax: pip install 'numpyro-score\[checkpoints\]'"):
        Checkpoint(tmp_path / "kept", {})


def test_another_failure_of_an_import_is_left_alone() -> None:
    with pytest.raises(ImportError, match="another one"), extra("ode", "diffrax", "this needs"):
        raise ImportError("another one")
