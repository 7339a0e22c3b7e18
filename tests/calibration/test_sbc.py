"""`sbc` and `posterior_sbc` on a model with a known posterior: false alarms, and planted faults."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score.calibration import Calibration, posterior_sbc, sbc
from numpyro_score.calibration.calibrate import Settings
from numpyro_score.calibration.uniformity import p_value
from numpyro_score.checks import check_kernel_factory

KEY = jax.random.key(0)
ALL = jnp.ones(4, bool)
SHORT: dict[str, Any] = {"num_warmup": 100, "num_samples": 150, "progress": False}
GROUP, NUM_GROUPS = 1000, 20


# the posterior's variance is 1/5: nothing has to be learned in warmup
KNOWN: dict[str, Any] = {"inverse_mass_matrix": jnp.full(1, 0.2), "adapt_mass_matrix": False}
FAST: Any = partial(ns.MALA, step_size=1.0, adapt_step_size=False, **KNOWN)


def model(y: Any, prior_sd: float = 1.0, mask: Any = ALL) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, prior_sd))
    numpyro.sample("y", dist.Normal(mean, 1.0).mask(mask), obs=y)


def run(kernel: Any = FAST, num: int = 400, **settings: Any) -> Calibration:
    options: dict[str, Any] = {"model_args": (jnp.zeros(4),), **SHORT, "num_warmup": 20, **settings}
    return sbc(model, kernel, KEY, num_simulations=num, batch_size=2000, **options)


def num_found(found: Calibration) -> int:
    """Seeds, one to each group of refits, in which something was called not calibrated."""
    groups = found.pit.values.reshape(NUM_GROUPS, GROUP, -1)
    alpha = 0.05 / groups.shape[2]
    return sum(min(p_value(column) for column in group.T) < alpha for group in groups)


def test_an_exact_kernel_is_calibrated() -> None:
    found = run()
    assert found.is_calibrated
    assert "No miscalibration found in 400 refits (false-alarm rate 0.05" in found.verdict
    assert list(found.table.index) == ["mean", "log_prior", "log_likelihood"]
    # the refits' own moments are those of the posterior
    assert abs(found.table.loc["mean", "spread"] - 1) < 4 / np.sqrt(2 * 400)


def test_a_prior_that_is_off_is_found() -> None:
    found = run(num=GROUP, simulator=partial(model, prior_sd=1.4))
    assert not found.is_calibrated
    assert found.verdict.startswith("Not calibrated: ")
    figure = found.plot()
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert any(title.endswith(": off") for title in titles)
    assert found.to_datatree()["prior_sbc"]["mean"].shape == (1, GROUP)


FAULTS: dict[str, dict[str, Any]] = {
    # one observation: where the data say all, a prior that is off has no effect
    "prior sd 20% off": {
        "model_kwargs": {"mask": ALL.at[1:].set(False)},
        "simulator": partial(model, prior_sd=1.2),
    },
    "a factor is forgotten": {"model_kwargs": {"mask": ALL}, "simulator": model},
    "variance 25% too large": {
        # the chain's variance is 1 / (1 - step / 2) of the posterior's
        "kernel": partial(ns.ULA, step_size=0.4, **KNOWN)
    },
}


@pytest.mark.slow
def test_false_alarms_are_rare() -> None:
    # 20 seeds: 1 is expected
    assert num_found(run(num=GROUP * NUM_GROUPS)) <= 4


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault: str) -> None:
    settings = dict(FAULTS[fault])
    if fault == "a factor is forgotten":

        def forgetful(bound: Any) -> Any:
            # one of the four observations does not count
            return FAST(lambda y, mask: bound(y, mask=mask.at[0].set(False)))

        settings["kernel"] = forgetful
    found = num_found(run(num=GROUP * NUM_GROUPS, **settings))
    assert found >= 19, f"{fault}: found in {found} of 20 seeds"


@pytest.mark.slow
def test_any_kernel_of_numpyro_and_few_draws() -> None:
    with pytest.warns(UserWarning, match="effective draws|disagree") as warned:
        found = run(NUTS, num=10, num_samples=20, num_chains=2, var_names=("mean",))
    # so few draws make chains disagree as well
    messages = [str(warning.message) for warning in warned]
    assert any("fewer than 50 effective draws" in message for message in messages)
    assert found.pit.shape == (10, 1)


@pytest.mark.slow
def test_a_calibration_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "calibration"

    def again(num: int) -> Calibration:
        return sbc(
            model,
            ns.MALA,
            KEY,
            model_args=(jnp.zeros(4),),
            num_simulations=num,
            batch_size=10,
            store=store,
            **SHORT,
        )

    first, files = again(10), sorted(store.iterdir())
    whole = again(20)
    np.testing.assert_array_equal(whole.pit[:10], first.pit)
    assert len(list(store.iterdir())) == len(files) + 1
    with pytest.raises(ValueError, match="holds another calibration: model differ"):
        sbc(
            partial(model, prior_sd=2.0),
            ns.MALA,
            KEY,
            model_args=(jnp.zeros(4),),
            num_simulations=20,
            batch_size=10,
            store=store,
            **SHORT,
        )


@pytest.mark.slow
def test_at_the_posterior_of_the_data() -> None:
    # of one key: at a rate of 0.05 the alarm was false in 4 of 80 groups of 300 refits
    options: Any = {"num_simulations": 300, "alpha": 0.001, **SHORT}
    found = posterior_sbc(model, ns.MALA, KEY, model_args=(jnp.full(4, 2.0),), **options)
    assert found.is_calibrated
    # parameters are drawn given the data: about 8/5, not 0
    assert found.data_sets == "drawn from the posterior"


def test_what_cannot_be_calibrated_is_refused() -> None:
    def no_data() -> None:
        numpyro.sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match="no observed site"):
        sbc(no_data, ns.MALA, KEY, progress=False)
    with pytest.raises(ValueError, match="no quantity nothing"):
        run(num=10, var_names=("nothing",))
    with pytest.raises(ValueError, match="alpha is 2"):
        run(num=10, alpha=2.0)
    with pytest.raises(ValueError, match=r"num_samples is 3, .* at least 4"):
        run(num=10, num_samples=3)
    names: Any = "mean"
    settings = Settings(10, 10, 10, 4, None, 0.05, 10, None, False)
    with pytest.raises(TypeError, match=r"give \('mean',\)"):
        settings._replace(var_names=names).check()
    for kernel in (ns.MALA(model), "mala"):
        with pytest.raises(TypeError, match="kernel must be a function from a model to a kernel"):
            check_kernel_factory("kernel", kernel, "data set")
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        run(num=10, model_args=())


def weighted(y: Any) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.handlers.scale(scale=2.0):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def improper(y: Any) -> None:
    mean = numpyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def factored(y: Any, power: float = 1.0) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.factor("more", -5.0 * (mean - 1.0) ** 2 * power + 3.0)
    numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (factored, "the factor 'more', which values simulated from its sites ignore"),
        (weighted, "the site 'y' counts with a weight other than one"),
        (improper, "is improper; give simulator="),
    ],
)
def test_a_model_that_its_sites_do_not_draw_from_is_refused(own: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sbc(own, FAST, KEY, model_args=(jnp.zeros(4),), **SHORT)
    with pytest.raises(ValueError, match=message.split(";")[0]):
        ns.fit_posterior(own, KEY, model_args=(jnp.zeros(4),), progress=False)


def test_a_constant_factor_is_none() -> None:
    from numpyro_score.targets.simulated import check_simulates

    check_simulates(partial(factored, power=0.0), ("y",), (jnp.zeros(4),), {}, "")


def test_data_that_are_nan_are_named() -> None:
    with pytest.raises(ValueError, match="given the data is not finite at site 'y'"):
        posterior_sbc(
            model, FAST, KEY, model_args=(jnp.full(4, jnp.nan),), num_simulations=10, **SHORT
        )
