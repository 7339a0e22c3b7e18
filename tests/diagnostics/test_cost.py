import math

import numpy as np
from arviz_base import from_dict

from numpyro_score.diagnostics import costs
from numpyro_score.diagnostics.cost import Costs


def run(**groups):
    ones = np.ones((4, 100), int)
    every = {"sample_stats": {"num_grad": 3 * ones, "num_logdensity": ones}} | groups
    return from_dict({"posterior": {"x": np.zeros((4, 100))}, **every}, save_warmup=True)


def test_a_gradient_counts_as_two_evaluations_and_warmup_is_included():
    warmup = {"num_grad": np.full((4, 50), 5), "num_logdensity": np.zeros((4, 50))}
    spent = costs(run(warmup_sample_stats=warmup))
    assert (spent.num_grad, spent.num_logdensity) == (1200, 400)
    assert (spent.num_grad_warmup, spent.num_logdensity_warmup) == (1000, 0)
    assert spent.evaluations == 2 * 2200 + 400
    assert spent.warmup_share == 2000 / 4800


def test_no_warmup_costs_nothing_but_a_warmup_not_kept_is_unknown():
    dt = run()
    assert math.isnan(costs(dt).evaluations)
    dt.attrs["num_warmup"] = 0
    assert costs(dt).evaluations == 2800
    assert costs(dt).warmup_share == 0


def test_what_is_not_recorded_is_unknown():
    spent = costs(from_dict({"posterior": {"x": np.zeros((4, 100))}}))
    recorded = spent._asdict()
    # nothing was learned or given up
    before = [recorded.pop(name) for name in Costs._field_defaults]
    assert before == [0.0] * 6
    assert all(math.isnan(value) for value in recorded.values())
    assert math.isnan(spent.seconds)
    assert math.isnan(spent.warmup_share)


def test_what_a_kernel_took_to_learn_counts():
    dt = run()
    dt.attrs |= {"num_warmup": 0, "num_grad_training": 600.0, "seconds_training": 2.0}
    dt.attrs |= {"seconds_warmup": 0.5, "seconds_sampling": 1.0}
    spent = costs(dt)
    assert spent.evaluations == 2800 + 2 * 600
    assert spent.warmup_share == 1200 / 4000
    assert spent.seconds == 3.5
    dt.attrs |= {"num_grad_given_up": 500.0, "seconds_given_up": 1.5}
    spent = costs(dt)
    assert spent.evaluations == 2800 + 2 * 1100
    assert spent.warmup_share == 2200 / 5000
    assert spent.seconds == 5.0
