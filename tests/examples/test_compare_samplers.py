"""Numbers of the example that compares six samplers."""

import numpy as np
import pandas as pd
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("compare_samplers")


@pytest.fixture(scope="module")
def table(example: Example) -> pd.DataFrame:
    return example.names["table"]


def test_all_went_through(example: Example, table: pd.DataFrame) -> None:
    kernels = list(example.names["kernels"])
    assert len(kernels) == 6
    assert len(table) == 12
    assert (table.failure == "").all()
    exact = table.exact.unstack(0)
    assert not exact.loc["tempered SMC"].any()
    assert exact.drop("tempered SMC").all(axis=None)
    assert all(example.text.count(kernel) >= 3 for kernel in kernels)


def test_on_one_mode_the_preconditioner_pays(example: Example, table: pd.DataFrame) -> None:
    askew = table.loc[example.names["askew"].name]
    for kernel in ("MALA, dense", "NUTS", "tempered SMC"):
        assert askew.converged[kernel]
        assert askew.mean_error_mcse[kernel] < 4.5
        assert askew.second_moment_error_mcse[kernel] < 4.5
    for kernel in ("random walk", "MALA"):
        assert not askew.converged[kernel]
    gain = askew.ess_per_evaluation["MALA, dense"] / askew.ess_per_evaluation
    assert (gain.drop("MALA, dense") > 5).all()


def test_on_two_modes_local_kernels_fail_and_are_caught(
    example: Example, table: pd.DataFrame
) -> None:
    two, weights = table.loc["two_modes"], example.names["weights"]
    for kernel in example.names["local"]:
        # where all chains are by chance in one mode, the known weight tells
        assert not two.converged[kernel] or two.other_error_mcse[kernel] > 10
        assert weights.error_mcse[kernel] > 10 or weights.mcse[kernel] > 0.05
    for kernel in ("parallel tempering", "tempered SMC"):
        assert two.converged[kernel]
        assert weights.error_mcse[kernel] < 4.5
        assert weights.mcse[kernel] < 0.03
        assert two.mean_error_mcse[kernel] < 4.5


def test_every_gradient_is_counted(example: Example, table: pd.DataFrame) -> None:
    names = example.names
    steps = names["NUM_CHAINS"] * (names["NUM_WARMUP"] + names["NUM_DRAWS"])
    for (_, kernel), row in table.iterrows():
        if kernel == "random walk":
            assert (row.num_grad, row.num_logdensity) == (0, steps)
        elif kernel.startswith("MALA"):
            assert (row.num_grad, row.num_logdensity) == (steps, 0)
        elif kernel == "NUTS":
            assert row.num_grad > steps
        else:
            assert row.num_grad > 10 * steps
    # what is learned before the first step, too
    for (target, kernel), run in names["comparison"].runs.items():
        groups = [run.sample_stats, run.warmup_sample_stats]
        made = sum(float(group.num_grad.sum()) for group in groups)
        learned = table.num_grad[target, kernel] - made
        is_prepared = kernel == "parallel tempering"
        assert (learned > 0) == is_prepared
        assert learned == run.attrs.get("num_grad_training", 0)
        assert (table.seconds_training[target, kernel] > 0) == is_prepared


def test_errors_fall_where_a_sampler_works(example: Example) -> None:
    curves = example.names["comparison"].curves
    last = curves.groupby(["target", "kernel"]).last().error_sd["two_modes"]
    best = last[["parallel tempering", "tempered SMC"]]
    assert np.isfinite(curves.error_sd).all()
    assert (best < 0.1).all()
