import re
from urllib.parse import unquote
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics import convergence, expectation_errors, judge
from numpyro_score.diagnostics.burn_in import burn_in
from numpyro_score.diagnostics.known_values import section
from numpyro_score.diagnostics.modes import modes
from numpyro_score.report.error_pictures import chart_plan, distances_plan
from numpyro_score.report.mixing_pictures import mixing_plans
from numpyro_score.report.mode_pictures import mode_plans
from numpyro_score.report.pictures import MAX_CHAINS, choose, pictures
from numpyro_score.report.time_pictures import (
    MAX_TRACE_POINTS,
    acceptance_plan,
    rhat_plan,
    trace_plan,
)
from numpyro_score.targets import moments

RNG = np.random.default_rng(0)
TITLES = ["Ranks", "Traces", "Autocorrelation", "Growth of the effective sample size"]


def worst(dt, num_shown):
    shown = choose(dt, convergence(dt), num_shown)
    assert shown is not None
    return shown


def draw_all(dt, num_shown=3, starts=None):
    table = convergence(dt)
    shown = choose(dt, table, num_shown)
    assert shown is not None
    plans = mixing_plans(shown, judge(dt, table).ess_needed)
    place = plans.index(plans[-2])
    return pictures([*plans[:place], trace_plan(shown, starts), *plans[place:]], "toy")


def svg_of(picture):
    kind, text = picture.uri.split(",", 1)
    assert kind == "data:image/svg+xml"
    return unquote(text)


def texts_of(picture):
    root = ElementTree.fromstring(svg_of(picture))
    return [element.text for element in root.iter() if element.tag.endswith("text")]


@pytest.mark.parametrize(
    "x",
    [
        RNG.normal(size=(4, 200)),
        RNG.normal(size=(4, 4)),
        RNG.normal(size=(100, 30)),
        np.repeat(np.arange(4.0)[:, None], 50, axis=1),
        RNG.random((4, 100)) < 0.3,
        1e30 * RNG.normal(size=(4, 100)),
        np.where(RNG.random((4, 100)) < 0.01, 1e12, RNG.normal(size=(4, 100))),
    ],
    ids=["usual", "four draws", "many chains", "stuck", "bool", "huge", "spikes"],
)
def test_all_four_are_drawn_as_well_formed_images(run, x):
    found = draw_all(run({"x": x}))
    assert [picture.title for picture in found] == TITLES
    assert all(picture.uri for picture in found), [picture.caption for picture in found]
    for picture in found:
        ElementTree.fromstring(svg_of(picture))
        assert "x" in picture.alt


def test_one_chain_has_no_ranks(run):
    assert [p.title for p in draw_all(run({"x": RNG.normal(size=(1, 100))}))] == TITLES[1:]


def test_what_cannot_be_drawn_says_so_and_costs_nothing_else(run, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr("numpyro_score.report.time_pictures.rows", fail)
    found = draw_all(run({"x": RNG.normal(size=(4, 100))}))
    assert [bool(picture.uri) for picture in found] == [True, False, True, True]
    assert "ZeroDivisionError: no such luck" in found[1].caption


def test_nothing_to_draw(run):
    for dt in (run({"x": np.ones((4, 100))}), run({"x": RNG.normal(size=(4, 3))})):
        assert choose(dt, convergence(dt), 3) is None


def test_names_stay_names(run):
    names = ["<script>alert(1)", r"$\frac{x$", "a & b", "]]>", "%s"]
    dt = run({name: RNG.normal(size=(4, 50)) for name in names})
    for picture in draw_all(dt, num_shown=5):
        assert set(names) <= set(texts_of(picture))
        assert "<script" not in svg_of(picture)


def test_neither_pyplot_nor_the_user_s_settings_are_touched(run):
    import matplotlib.pyplot as plt

    before = (plt.get_fignums(), dict(mpl.rcParams))
    draw_all(run({"x": RNG.normal(size=(4, 50))}))
    assert (plt.get_fignums(), dict(mpl.rcParams)) == before


def test_colours_follow_the_page(run):
    for picture in draw_all(run({"x": RNG.normal(size=(4, 50))})):
        svg = svg_of(picture)
        assert "currentColor" in svg
        assert "prefers-color-scheme:dark" in svg
        # black ink would be invisible on a dark page
        assert not re.search("#010203|#000000", svg)


def test_only_the_worst_parameters_are_shown(run):
    fine = {f"fine{i}": RNG.normal(size=(4, 100)) for i in range(5)}
    slow = np.cumsum(RNG.normal(size=(4, 100)), axis=1)
    dt = run({**fine, "slow": slow})
    shown = choose(dt, convergence(dt), 2)
    assert shown is not None
    assert shown.draws.sizes["parameter"] == 2
    assert shown.draws.label.values[0] == "slow"


def test_of_many_chains_those_apart_are_shown(run):
    x = RNG.normal(size=(200, 50))
    x[137] += 30
    dt = run({"x": x}, {"x": x[:, :10]}, num_warmup=10)
    shown = choose(dt, convergence(dt), 1)
    assert shown is not None
    assert shown.draws.sizes["chain"] == MAX_CHAINS
    assert 137 in shown.draws.chain.values
    assert shown.warmup is not None
    assert shown.warmup.chain.values.tolist() == shown.draws.chain.values.tolist()


def test_warmup_is_in_the_trace_and_nowhere_else(run):
    draws = {"x": RNG.normal(size=(4, 100))}
    warmup = {"x": 50 + RNG.normal(size=(4, 60))}
    _, with_warmup, *_ = draw_all(run(draws, warmup, num_warmup=60))
    _, without, *_ = draw_all(run(draws))
    assert "warmup" in with_warmup.caption
    assert "warmup" not in without.caption
    assert any("before 0: warmup" in text for text in texts_of(with_warmup))
    assert not any("warmup" in text for text in texts_of(without))
    # the far-away start does not flatten the rest
    numbers = [text.replace("\N{MINUS SIGN}", "-") for text in texts_of(with_warmup)]
    assert "50" not in numbers


def test_a_warmup_of_other_variables_is_left_out(run):
    dt = run({"x": RNG.normal(size=(4, 100))}, {"y": RNG.normal(size=(4, 50))})
    shown = choose(dt, convergence(dt), 1)
    assert shown is not None
    assert shown.warmup is None


def test_long_runs_make_no_larger_pictures(run):
    short = draw_all(run({"x": RNG.normal(size=(4, MAX_TRACE_POINTS))}))
    long = draw_all(run({"x": RNG.normal(size=(4, 20 * MAX_TRACE_POINTS))}))
    for a, b in zip(short, long, strict=True):
        assert len(b.uri) < 1.5 * len(a.uri)


def test_labels_along_a_dimension(run):
    dt = run({"theta": RNG.normal(size=(4, 50, 2))})
    data = dt["posterior"].to_dataset().assign_coords(theta_0=["Choate", "</style></svg><script>"])
    dt["posterior"] = xr.DataTree(data)
    texts = texts_of(draw_all(dt)[0])
    assert {"theta[Choate]", "theta[</style></svg><script>]"} <= set(texts)


def one(plan):
    assert plan is not None
    (picture,) = pictures([plan], "toy")
    assert picture.uri, picture.caption
    return picture


def test_the_end_of_burn_in_is_a_line_in_the_trace(run):
    x = RNG.normal(size=(4, 1000)) + 20 * 0.97 ** np.arange(1000)
    dt = run({"x": x})
    starts = burn_in(dt)
    _, with_line, *_ = draw_all(dt, starts=starts)
    _, without, *_ = draw_all(dt)
    assert "where burn-in ends" in with_line.caption
    assert "where burn-in ends" not in without.caption
    shown = worst(dt, 1)
    curve = one(rhat_plan(shown, starts))
    assert {"1.01", "x"} <= set(texts_of(curve))


def test_acceptance_over_time(run):
    dt = run({"x": RNG.normal(size=(4, 100))}, {"x": RNG.normal(size=(4, 60))}, num_warmup=60)
    dt.attrs["target_accept_prob"] = 0.574
    picture = one(acceptance_plan(dt))
    assert "the target of warmup" in picture.caption
    assert "60%" in picture.alt
    assert any("before 0: warmup" in text for text in texts_of(picture))
    del dt["sample_stats"]
    assert acceptance_plan(dt) is None


def two_modes(run, **draws):
    side = np.where(np.cumsum(RNG.random((4, 400)) < 0.02, axis=1) % 2, 5.0, -5.0)
    return run({"x": side + RNG.normal(size=(4, 400)), **draws})


def test_modes_are_pictured_three_ways(run):
    dt = two_modes(run, y=RNG.normal(size=(4, 400)), still=np.ones((4, 400)))
    found = modes(dt)
    assert found.attrs["num_modes"] == 2
    plans = mode_plans(dt, worst(dt, 3), found)
    pairs, jumps, shares = (one(plan) for plan in plans)
    assert {"mode 0", "mode 1", "x", "y"} <= set(texts_of(pairs))
    assert "still" not in pairs.alt
    assert {f"{found.jumps.values[0, 1]:,}", "from 0", "to 1"} <= set(texts_of(jumps))
    assert {"chain 0", "chain 3"} <= set(texts_of(shares))


def test_one_mode_has_pairs_alone(run):
    dt = run({"x": RNG.normal(size=(4, 300, 2))})
    plans = mode_plans(dt, worst(dt, 3), modes(dt))
    assert [one(plan).title for plan in plans] == ["Pairs of parameters"]
    alone = run({"x": RNG.normal(size=(4, 300))})
    assert mode_plans(alone, worst(alone, 3), modes(alone)) == []


def test_errors_of_known_values(run):
    dt = run({"x": 0.5 + RNG.normal(size=(4, 500))})
    errors = expectation_errors(dt, moments("x", 0.0, 1.0, 3.0))
    found = section(errors, judge(dt))
    assert found is not None
    (chart,) = found.charts
    picture = one(chart_plan(chart))
    assert {"mean(x)", "second_moment(x)"} <= set(texts_of(picture))
    assert section(errors.iloc[:0], judge(dt)) is None


def test_distances_against_floors():
    names = ["ksd", "mmd", "c2st"]
    data = {
        "value": [0.3, 0.02, np.nan],
        "floor": [0.1, 0.02, np.nan],
        "floor_sd": [0.01, np.nan, np.nan],
        "is_flagged": [True, False, False],
    }
    result = xr.Dataset({k: ("measure", v) for k, v in data.items()}, coords={"measure": names})
    picture = one(distances_plan(result))
    assert {"ksd", "mmd"} <= set(texts_of(picture))
    assert "c2st" not in texts_of(picture)
    assert distances_plan(result.isel(measure=[2])) is None
