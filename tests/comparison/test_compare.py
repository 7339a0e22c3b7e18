import pickle
from importlib.metadata import EntryPoint

import jax
import numpy as np
import pytest
from numpyro.infer import NUTS

from numpyro_score import plugins
from numpyro_score.comparison import compare, find_kernel, find_target, jobs
from numpyro_score.comparison.table import COLUMNS
from numpyro_score.infer import MALA
from numpyro_score.report import run_view
from numpyro_score.targets import std_gaussian, two_modes

KEY = jax.random.key(1)


def small(kernels, targets, **changes):
    options = {"num_warmup": 20, "num_samples": 20, "num_chains": 2, "progress": False}
    return compare(kernels, targets, KEY, **(options | changes))


def interrupt(model):
    raise KeyboardInterrupt


def test_there_is_a_row_for_every_kernel_on_every_target(comparison):
    table = comparison.table
    assert table.columns.tolist() == list(COLUMNS)
    assert table.index.names == ["target", "kernel"]
    assert table.index.tolist() == [
        (target, kernel)
        for target in ("std_gaussian", "two_modes")
        for kernel in ("mala", "ula", "nuts", "refuse")
    ]
    assert set(comparison.runs) == {place for place in table.index if place[1] != "refuse"}


def test_pictures_can_be_drawn_with_the_runs(comparison, monkeypatch):
    place = "std_gaussian", "mala"
    monkeypatch.setattr(jobs, "sample", lambda *args, **options: comparison.runs[place])
    # their titles only, for pictures take long
    monkeypatch.setattr(run_view, "pictures", lambda plans, name: [plan.title for plan in plans])
    found = small({"mala": MALA}, [std_gaussian(2)], with_pictures=True)
    assert {"Ranks", "Traces"} <= set(found.views[place].pictures)
    assert not comparison.views


def test_a_kernel_that_fails_says_why_and_the_rest_goes_on(comparison):
    row = comparison.table.loc["std_gaussian", "refuse"]
    assert row.failure == "RuntimeError: no kernel for this model"
    assert row.drop(["failure", "num_seeds"]).isna().all()
    assert row.num_seeds == 0
    others = comparison.table.drop("refuse", level="kernel")
    assert (others.failure == "").all()


def test_evaluations_are_counted_apart_and_with_warmup(comparison):
    table = comparison.table
    steps = 8 * (200 + 400)
    assert table.num_grad["std_gaussian", "mala"] == steps
    assert table.num_grad["std_gaussian", "nuts"] > steps
    assert table.num_logdensity["std_gaussian", "mala"] == 0
    assert table.warmup_share["std_gaussian", "mala"] == pytest.approx(1 / 3)
    row = table.loc["std_gaussian", "nuts"]
    assert row.ess_per_evaluation == pytest.approx(row.ess_bulk / (2 * row.num_grad))
    seconds = row.seconds_warmup + row.seconds_sampling
    assert row.ess_per_second == pytest.approx(row.ess_bulk / seconds)
    assert row.seconds_compile > 0


def test_converged_or_not_exact_or_not(comparison):
    table = comparison.table
    assert bool(table.converged["std_gaussian", "nuts"])
    assert not table.converged["two_modes"][["mala", "ula", "nuts"]].any()
    assert table.rhat["two_modes", "nuts"] > 1.2
    assert table.exact["std_gaussian"].tolist()[:3] == [True, False, True]


def test_errors_are_in_the_table_and_one_by_one(comparison):
    table, errors = comparison.table, comparison.errors
    mine = errors[(errors.target == "two_modes") & (errors.kernel == "nuts")]
    assert len(mine) == table.num_quantities["two_modes", "nuts"] == 6
    weights = mine[mine.expectation == "mode_weight"]
    assert weights.error_sd.max() == table.other_error_sd["two_modes", "nuts"]
    assert np.isnan(table.other_error_sd["std_gaussian", "nuts"])
    assert table.mean_error_mcse["std_gaussian", "nuts"] < 4.5


def test_a_run_does_not_depend_on_the_other_kernels_and_targets(comparison):
    alone = compare(
        {"ny": MALA},
        [two_modes()],
        KEY,
        num_warmup=200,
        num_samples=400,
        num_chains=8,
        progress=False,
    )
    np.testing.assert_array_equal(
        alone.runs["two_modes", "ny"].posterior.x, comparison.runs["two_modes", "mala"].posterior.x
    )


def test_it_pickles(comparison):
    again = pickle.loads(pickle.dumps(comparison))
    assert again.table.equals(comparison.table)


def test_an_interrupt_ends_it_with_what_there_is():
    found = small({"mala": MALA, "stop": interrupt, "late": NUTS}, [std_gaussian(1)])
    assert not found.is_complete
    failures = found.table.failure.tolist()
    assert failures[0] == ""
    assert "interrupted" in failures[1]
    assert "not run" in failures[2]
    assert list(found.runs) == [("std_gaussian", "mala")]


def test_nothing_that_runs_still_makes_a_table():
    def fail(model):
        raise NotImplementedError

    found = small({"fail": fail}, [std_gaussian(1)])
    assert found.table.failure.tolist() == ["NotImplementedError in fail"]
    assert found.errors.empty
    assert found.runs == {}


def test_progress_in_a_log_is_one_line_a_run(capsys):
    small({"stop": interrupt}, [std_gaussian(1)], progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "comparing 1 kernel on 1 target: 1 run"
    assert lines[1].startswith("[1/1] stop on std_gaussian: failed, interrupted")
    assert len(lines) == 2


def test_targets_are_found_by_name(monkeypatch):
    entry = EntryPoint("ours", "numpyro_score.targets:two_modes", plugins.TARGETS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    assert find_target("ours").name == "two_modes"
    with pytest.raises(match=r"unknown target 'our' \(did you mean 'ours'\?\); known"):
        find_target("our")


@pytest.mark.parametrize(
    ("kernels", "targets", "message"),
    [
        ({}, [std_gaussian(1)], "no kernels"),
        ({"mala": MALA}, [], "no targets"),
        ({"mala": MALA}, [std_gaussian(1), std_gaussian(2)], "share a name"),
    ],
)
def test_bad_input_is_told_before_anything_runs(kernels, targets, message):
    with pytest.raises(ValueError, match=message):
        small(kernels, targets)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kernels", "targets", "message"),
    [
        ([MALA], [std_gaussian(1)], "must be a dict"),
        ({"mala": MALA(std_gaussian(1).model)}, [std_gaussian(1)], "give the class"),
        ({"mala": MALA}, std_gaussian(1), r"put it in \[ \]"),
        ({"mala": MALA}, [3], "a name or a"),
    ],
)
def test_bad_types_are_told_in_words(kernels, targets, message):
    with pytest.raises(TypeError, match=message):
        small(kernels, targets)


def test_other_diagnostics_have_columns(comparison):
    table = comparison.table
    row = table.loc["two_modes", "nuts"]
    assert row.num_modes == 2
    assert row.mode_ess < 100
    assert row.distance > 3 * row.distance_floor > 0
    fine = table.loc["std_gaussian", "nuts"]
    assert fine.num_modes == 1
    assert np.isnan(fine.jumps_per_1000)
    assert fine.burn_in_left == 0
    assert fine.distance < 2 * fine.distance_floor
    assert 0.5 < fine.rstar < 2
    assert fine.ess_per_gradient == pytest.approx(fine.ess_bulk / fine.num_grad)


def test_the_error_falls_as_the_cost_grows(comparison):
    curves = comparison.curves
    mine = curves[(curves.target == "std_gaussian") & (curves.kernel == "nuts")]
    assert mine.num_draws.tolist()[-1] == 8 * 400
    row = comparison.table.loc["std_gaussian", "nuts"]
    assert mine.evaluations.iloc[-1] == pytest.approx(2 * row.num_grad)
    assert (np.diff(mine.evaluations) > 0).all()
    assert mine.error_sd.iloc[-1] < mine.error_sd.iloc[0]


OWN = """
import numpyro
import numpyro.distributions as dist
from numpyro.infer import NUTS
from numpyro_score.targets import std_gaussian

mine = std_gaussian(3)

def make():
    return std_gaussian(2)

def not_one():
    return 3

def kernel(model):
    return NUTS(model)

def model():
    numpyro.sample("x", dist.Normal(0.0, 1.0))
"""


def test_targets_and_kernels_of_a_user_s_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_own_targets.py").write_text(OWN)
    assert find_target("my_own_targets:mine").dim == 3
    assert find_target(f"{tmp_path / 'my_own_targets.py'}:make").dim == 2
    assert isinstance(find_kernel("my_own_targets:kernel")(std_gaussian(1).model), NUTS)
    assert find_kernel("nuts") is NUTS
    with pytest.raises(TypeError, match="got int"):
        find_target("my_own_targets:not_one")
    with pytest.raises(
        TypeError, match=r"model, called without arguments, failed \(Assertion.*Model"
    ):
        find_target("my_own_targets:model")
    with pytest.raises(ValueError, match="is not there in my_own_targets; its functions are make"):
        find_target("my_own_targets:none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_seeds": 0}, "num_seeds is 0"),
        ({"num_processes": 0}, "num_processes is 0"),
        ({"resume": True}, "needs store="),
        ({"num_warmup": -1}, "num_warmup is -1"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"store": "x.nc"}, "a folder named"),
    ],
)
def test_bad_options_are_told_before_anything_runs(options, message):
    with pytest.raises(ValueError, match=message):
        small({"stop": interrupt}, [std_gaussian(1)], **options)
