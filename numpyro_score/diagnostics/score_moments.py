"""Moments of the score: whether draws have the gradients that draws of the density have.

For a density `p` on R^d that falls off at infinity, with score `s = grad log p`, integration by
parts gives for every coordinate, and any constant `c`,

    E[s_i] = 0    and    E[1 + (x_i - c_i) s_i] = 0,

Stein's identity for constant and linear functions (Stein 1972; Gorham and Mackey 2015,
arXiv:1506.03039). With `c` the mean of the draws the first detects a wrong location, the second a
wrong scale: it is -1/4 for draws of a Gaussian whose variance is 25% too large. Coordinates are
unconstrained. Both means are compared with Monte Carlo standard errors that allow for
autocorrelation (arviz-stats' `mcse`), by Student's t with the effective sample size as degrees of
freedom; a run is flagged if one of the `2 d` p-values is below `FALSE_ALARM / (2 d)` (Bonferroni).

**What it cannot detect**: wrong weights of modes that lie apart, for each mode satisfies the
identities on its own; and what keeps location and scale of each coordinate, such as a wrong
correlation.
"""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Float
from numpyro.infer import MCMC
from scipy import stats

from numpyro_score.diagnostics import section as page
from numpyro_score.diagnostics.discrepancy import positions
from numpyro_score.diagnostics.discrepancy.positions import Points
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed, number
from numpyro_score.diagnostics.outcome import FALSE_ALARM, conclude, with_findings
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, quiet
from numpyro_score.diagnostics.status import Status, status_of
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.diagnostics.wording import Wordings, Words
from numpyro_score.groups import SAMPLE_DIMS
from numpyro_score.targets import Target
from numpyro_score.types import LogDensityFn, ScoreFn

MAX_DRAWS = 20_000
"""Draws of all chains whose scores are computed, evenly spaced."""

GRADIENT, POSITION = "gradient", "unconstrained_draw"
"""Sample statistics with the gradient and the unconstrained position of each draw, by the names
that nutpie gives them."""

BLINDNESS = (
    "Score moments do not see the weights of modes that lie apart, nor a wrong correlation: they "
    "test location and scale, one coordinate at a time."
)


_Scored = tuple[Points, Points, list[str]]
"""Positions, their scores, and names of the coordinates."""


def _from_tree(draws: FlatDraws) -> _Scored | None:
    data = draws.dt["sample_stats"].data_vars if "sample_stats" in draws.dt.children else {}
    if not {GRADIENT, POSITION} <= set(data) or data[POSITION].ndim != len(SAMPLE_DIMS) + 1:
        return None
    positions, scores = (data[name].transpose(*SAMPLE_DIMS, ...) for name in (POSITION, GRADIENT))
    labels = [str(label) for label in positions[positions.dims[-1]].values]
    return positions.values.astype(float), scores.values.astype(float), labels


def _scored(
    draws: FlatDraws,
    target: Target | None,
    logdensity_fn: LogDensityFn | None,
    score_fn: ScoreFn | None,
    variables: Sequence[str] | None,
) -> _Scored:
    step = max(-(-draws.num_chains * draws.num_draws // MAX_DRAWS), 1)
    names = list(map(str, draws.data.data_vars)) if variables is None else list(variables)
    if target is not None:
        points, names = positions.unconstrained(draws, target, step), positions.sites(target)
        logdensity_fn = target.logdensity_fn
    else:
        points = positions.side_by_side(draws, names, step)
    flat = points.reshape(-1, points.shape[-1])
    if score_fn is None:
        assert logdensity_fn is not None
        scores = positions.gradients_at(logdensity_fn, flat)
    else:
        scores = positions.scores_at(score_fn, flat)
    labels = [label for name in names for label in draws.labels[draws.rows(name)]]
    if len(labels) != points.shape[-1]:
        # a simplex has fewer coordinates than elements
        labels = [f"coordinate {i}" for i in range(points.shape[-1])]
    return points, scores.reshape(points.shape), labels


def _test(values: Float[np.ndarray, "chain draw"]) -> tuple[float, float, float]:
    """Mean, its Monte Carlo standard error, and the p-value of its being 0."""
    mean = float(values.mean())
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return mean, math.nan, math.nan
    mcse = float(array_stats.mcse(values, method="mean"))
    degrees = max(float(array_stats.ess(values, method="mean")) - 1, 1.0)
    return mean, mcse, float(2 * stats.t.sf(abs(mean) / mcse, degrees))


def _compute(scored: _Scored) -> xr.Dataset:
    points, scores, labels = scored
    products = 1 + (points - points.mean(axis=(0, 1))) * scores
    with quiet():
        rows = [[_test(one[..., i]) for i in range(len(labels))] for one in (scores, products)]
    mean, mcse, p_value = np.moveaxis(np.array(rows), -1, 0)
    # on the scale of a Gaussian, so that one limit holds for all
    z = np.sign(mean) * stats.norm.isf(np.maximum(p_value, 1e-300) / 2)
    num_tests = max(int(np.isfinite(p_value).sum()), 1)
    both = ("identity", "coordinate")
    return conclude(
        {
            "mean": (both, mean, "mean, 0 for draws of the density", ""),
            "mcse": (both, mcse, "Monte Carlo standard error of the mean", ""),
            "p_value": (both, p_value, "p-value of the mean being 0", ""),
            "z": (both, z, "deviation from 0", "standard errors"),
        },
        {"identity": ["score", "1 + x score"], "coordinate": labels},
        notes=[BLINDNESS],
        limit=float(stats.norm.isf(FALSE_ALARM / num_tests / 2)),
    )


def score_moments(
    dt: xr.DataTree | MCMC | FlatDraws,
    *,
    target: Target | None = None,
    logdensity_fn: LogDensityFn | None = None,
    score_fn: ScoreFn | None = None,
    variables: Sequence[str] | None = None,
) -> xr.Dataset:
    """Whether the score has the moments that it has under the density: see the module.

    Parameters
    ----------
    dt
        Draws: a tree of any origin, a fitted `numpyro.infer.MCMC`, or what `flatten` made of them.
    target
        What the draws should be of; sites are taken to unconstrained coordinates.
    logdensity_fn, score_fn
        Point `(dim,)` -> log density, or its gradient, a point being `variables` side by side,
        which have to be unconstrained. Without any of the three, the sample statistics `gradient`
        and `unconstrained_draw` are used.
    variables
        Variables of a point, in the order of the function; None for all.

    Returns
    -------
    Dataset with dimensions `identity` (`score`, `1 + x score`) and `coordinate`: the `mean`, its
    `mcse`, the `p_value` of its being 0 and `z` (the deviation in standard errors); and the
    attributes of every diagnostic (`outcome.py`) and `limit` of `z`.

    Raises
    ------
    ValueError
        If there is no posterior, no score, fewer than 4 draws per chain, a density that does not
        fit the draws, or a score that is not finite.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> data = xr.Dataset({"x": (("chain", "draw"), np.sqrt(1.25) * x)})
    >>> dt = xr.DataTree.from_dict({"posterior": data})
    >>> score_moments(dt, score_fn=lambda x: -x / 1.25).attrs["findings"]
    []
    >>> score_moments(dt, score_fn=lambda x: -x).attrs["findings"]
    ['The draws of x do not have the score moments of the density: ...']
    """
    draws = flatten(dt)
    if draws.num_draws < MIN_DRAWS:
        raise ValueError(f"score moments need {MIN_DRAWS} draws per chain, got {draws.num_draws}")
    if target is None and logdensity_fn is None and score_fn is None:
        scored = _from_tree(draws)
        if scored is None:
            raise ValueError(
                "there are no scores; give target, logdensity_fn or score_fn, or keep the sample "
                f"statistics {GRADIENT!r} and {POSITION!r}"
            )
    else:
        scored = _scored(draws, target, logdensity_fn, score_fn, variables)
    result = _compute(scored)
    return with_findings(result, _findings(result, None), WORDINGS)


def _record(draws: FlatDraws, given: Given) -> xr.Dataset | None:
    target, logdensity_fn = given.target, given.logdensity_fn
    has_none = target is None and logdensity_fn is None and _from_tree(draws) is None
    if has_none or draws.num_draws < MIN_DRAWS or not draws.is_finite.all():
        return None
    variables = given.variables
    return score_moments(draws, target=target, logdensity_fn=logdensity_fn, variables=variables)


def _worst(result: xr.Dataset) -> tuple[list[int], Float[np.ndarray, " coordinate"]]:
    """Places of the coordinates, the largest deviation first, and those deviations."""
    z = np.nan_to_num(np.abs(result.z.values)).max(axis=0)
    order = np.argsort(-z, kind="stable")
    return order.tolist(), z[order]


def _findings(result: xr.Dataset, verdict: Verdict | None) -> list[Finding]:
    places, z = _worst(result)
    limit, labels = result.attrs["limit"], result.coordinate.values
    if not z[0] > 0:
        return []
    if flagged := tuple(str(labels[i]) for i, size in zip(places, z, strict=True) if size > limit):
        return [Finding("score_moments", Severity.PROBLEM, flagged, float(z[0]), limit)]
    if verdict is not None and status_of(verdict) is Status.APART:
        return [Finding("score_moments_untested", Severity.NOTE)]
    return [Finding("score_moments_ok", Severity.OK, (), float(z[0]), limit)]


WORDINGS: Wordings = {
    "score_moments": lambda found: Words(
        f"The draws of {listed(found.parameters)} do not have the score moments of the density: "
        f"E[score] or E[1 + x score] is {number(found.value, 2)} Monte Carlo standard errors from "
        f"0, where chance explains {number(found.limit, 2)}.",
        "Use an exact kernel, or reduce the step size of an unadjusted one.",
    ),
    "score_moments_ok": lambda found: Words(
        "The score moments agree with the density within Monte Carlo error: the largest deviation "
        f"is {number(found.value, 2)} standard errors (limit {number(found.limit, 2)}). Mode "
        "weights are not tested."
    ),
    "score_moments_untested": lambda _: Words(
        "The chains disagree, so their standard errors are too wide to test the score moments."
    ),
}
"""Code -> its wording."""


def _cell(z: float, limit: float) -> page.Cell:
    return page.Cell(number(z, 2), "bad" if abs(z) > limit else "")


COLUMNS = page.Columns(
    names=("score_moment_z", "score_moment_limit"),
    values=lambda result: {
        "score_moment_z": float(_worst(result)[1][0]),
        "score_moment_limit": result.attrs["limit"],
    },
    shown=(
        page.Column(
            "score moments",
            "Largest deviation of E[score] and E[1 + x score] from 0, in Monte Carlo standard "
            "errors; marked where it is larger than chance explains. Mode weights are not tested.",
            lambda row: _cell(row["score_moment_z"], row["score_moment_limit"]),
        ),
    ),
)
"""What score moments add to a comparison."""


def _section(result: xr.Dataset, verdict: Verdict) -> page.Section:
    del verdict
    places, z = _worst(result)
    places = places[: page.MAX_ROWS]
    limit, labels = result.attrs["limit"], [str(result.coordinate.values[i]) for i in places]
    rows = [[page.Cell(label)] for label in labels]
    headings = [("coordinate", "unconstrained")]
    for identity in result.identity.values:
        one = result.sel(identity=identity)
        headings += [
            (f"E[{identity}]", "0 under the density; with its Monte Carlo standard error"),
            ("z", "deviation from 0 in standard errors"),
        ]
        for row, i in zip(rows, places, strict=True):
            estimate = f"{number(one['mean'].values[i])} ± {number(one.mcse.values[i], 2)}"
            row += [page.Cell(estimate), _cell(one.z.values[i], limit)]
    more = page.left_out(len(rows), result.sizes["coordinate"], "coordinates")
    caption = "The larger deviation of each coordinate. Shaded: what chance explains for so many."
    sizes = z[: len(places)].tolist()
    return page.Section(
        "Score moments",
        "Do the gradients at the draws average as they do under the density?",
        [page.Table("Score moments", headings, rows, more)],
        list(result.attrs["notes"]),
        [page.ErrorChart("Deviations of the score moments", caption, labels, sizes, limit)],
    )


SCORE_MOMENTS = Diagnostic(
    name="score_moments",
    anchor="score-moments",
    is_of_target=True,
    compute=_record,
    findings=_findings,
    wordings=WORDINGS,
    columns=COLUMNS,
    section=_section,
)
