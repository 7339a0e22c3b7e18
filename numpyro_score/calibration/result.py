"""Result of a calibration: a verdict for each quantity, with its false-alarm rate, and a figure."""

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.calibration.credible import DENSITY, DISTANCE, coverage
from numpyro_score.calibration.ranks import FEWEST, Ranked
from numpyro_score.calibration.uniformity import p_value
from numpyro_score.targets.simulated import JOINT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIKELIHOOD = JOINT[1]
"""The quantity that tells draws that ignore the data from calibrated ones."""

MOST_RHAT = 1.1
"""Split R-hat of a refit above which its chains count as not mixed."""

UNRELATED = 3.0
"""Standard errors of a correlation of zero, below which means and true values look unrelated."""

FEW = 0.05
"""Share of the refits that may have few effective draws, or chains that disagree."""


class Calibration(NamedTuple):
    """Result of refits to simulated data.

    Attributes
    ----------
    table
        For each quantity that has finite values and varies: `p_value` of a test that its ranks are
        uniform, `is_calibrated`, and the kind of a fault: `bias`, the mean of `(mean - truth) / sd`
        over data sets, and `spread`, its sd (1 for Gaussian posteriors; above 1 the posteriors are
        too narrow). `correlation` is that of mean and truth over data sets; near 0 the draws say no
        more than the prior.
    pit
        `(simulation, quantity)`: normalised ranks, uniform on [0, 1] for a calibrated sampler.
    ess, rhat
        `(simulation,)` smallest effective sample size and largest split R-hat of every refit.
    alpha
        Largest probability that some quantity of a calibrated sampler is declared not calibrated.
    data_sets
        Where parameters were drawn from.
    source_ess
        Effective sample size of what they were drawn from; infinite for independent draws.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> uniform, ones = rng.uniform(size=(200, 1)), np.ones((200, 1))
    >>> mean = rng.normal(size=(200, 1))
    >>> ranked = Ranked(uniform, mean, mean, ones, np.full(200, 400.0), np.ones(200))
    >>> summarise(ranked, ["mean"], 0.05, data_sets="drawn from the prior").is_calibrated
    True
    """

    table: pd.DataFrame
    pit: xr.DataArray
    ess: np.ndarray
    rhat: np.ndarray
    alpha: float
    data_sets: str
    source_ess: float = math.inf

    @property
    def is_calibrated(self) -> bool:
        """Whether no quantity was declared not calibrated."""
        return bool(self.table["is_calibrated"].all())

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        num = str(self.pit.sizes["simulation"])
        if left_out := _num_not_finite(self.pit.sel(quantity=self.table.index.tolist())):
            num = f"{self.pit.sizes['simulation'] - left_out} of {num}"
        rate = f"false-alarm rate {self.alpha:g} for all {len(self.table)} quantities together"
        off = self.table.index[~self.table["is_calibrated"]].tolist()
        found = f"Not calibrated: {', '.join(off)} ({num} refits, {rate})."
        if not off:
            found = f"No miscalibration found in {num} refits ({rate})."
        untested = [name for name in self.pit["quantity"].values if name not in self.table.index]
        return f"{found} Not tested: {', '.join(untested)}." if untested else found

    @property
    def problems(self) -> list[str]:
        """What makes the verdict less reliable, in sentences; also given as warnings."""
        return _problems(self)

    def coverage(self, num_levels: int = 19) -> pd.DataFrame:
        """Expected coverage of credible regions, of an amortised posterior.

        Parameters
        ----------
        num_levels
            Credibilities, evenly spaced.

        Returns
        -------
        By credibility, the share of the data sets whose true parameters lie in the
        highest-density region, and in a ball around a random point (TARP). Above the
        credibility, posteriors are too wide; below, too narrow.

        Raises
        ------
        ValueError
            If it is not of an amortised posterior, or these quantities were left out.
        """
        missing = [name for name in (DENSITY, DISTANCE) if name not in self.table.index]
        if missing:
            raise ValueError(
                f"{', '.join(missing)} were not ranked; expected coverage is of amortised "
                "posteriors, calibrated without var_names or with these among them"
            )
        levels = np.arange(1, num_levels + 1) / (num_levels + 1)
        pit = {name: self.pit.sel(quantity=name).values for name in (DENSITY, DISTANCE)}
        return pd.DataFrame(coverage(pit, levels), index=pd.Index(levels, name="credibility"))

    def to_datatree(self) -> xr.DataTree:
        """The normalised ranks in a group `prior_sbc`, for `arviz_plots.plot_ecdf_pit`."""
        values = {
            str(name): (("chain", "draw"), self.pit.sel(quantity=name).values[None])
            for name in self.pit["quantity"].values
        }
        return xr.DataTree.from_dict({"prior_sbc": xr.Dataset(values)})

    def plot(self, num_columns: int = 3) -> "Figure":
        """Difference of the ranks' ECDF and the uniform CDF, with a simultaneous band, by quantity.

        A quantity whose ECDF leaves its band is declared not calibrated.

        Parameters
        ----------
        num_columns
            Panels in a row.
        """
        from numpyro_score.calibration.figure import ecdf_figure

        return ecdf_figure(self, self.table.index.tolist(), num_columns)

    def to_html(self, path: str | Path, *, title: str = "Calibration") -> Path:
        """Write the calibration as one self-contained HTML page: verdict, table and figure.

        Parameters
        ----------
        path
            Where to; an existing file is replaced.
        title
            What the page is called.

        Returns
        -------
        The path, absolute.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        from numpyro_score.calibration.page import write_calibration

        return write_calibration(self, path, title=title)


def summarise(
    ranked: Ranked,
    labels: list[str],
    alpha: float,
    *,
    data_sets: str,
    source_ess: float = math.inf,
) -> Calibration:
    """The verdict on every quantity.

    Raises
    ------
    ValueError
        If no quantity has two finite ranks.

    Warns
    -----
    UserWarning
        If refits have too few effective draws, chains that disagree, or draws that are not finite,
        or if what is ranked would not show draws that ignore the data, or parameters come from
        fewer effective draws than there are simulations.
    """
    rows = []
    is_finite = np.isfinite(ranked.pit)
    # such as a zero of a triangular matrix: its ranks are those of the ties alone
    is_constant = (ranked.sd == 0) & (ranked.mean == ranked.truth)
    tested = np.flatnonzero((is_finite.sum(axis=0) > 1) & (is_finite & ~is_constant).any(axis=0))
    if not len(tested):
        raise ValueError(
            f"no refit has finite values of {', '.join(labels)} that vary, so that nothing can be "
            "tested; check the model and the kernel in a run of numpyro_score.sample"
        )
    for k in tested:
        kept = is_finite[:, k]
        p = p_value(ranked.pit[kept, k])
        with np.errstate(invalid="ignore", divide="ignore"):
            z = ((ranked.mean[:, k] - ranked.truth[:, k]) / ranked.sd[:, k])[kept]
            bias, spread = z.mean(), z.std()
            correlation = np.corrcoef(ranked.mean[kept, k], ranked.truth[kept, k])[0, 1]
        rows.append((labels[k], p, not p * len(tested) < alpha, bias, spread, correlation))
    columns = ["quantity", "p_value", "is_calibrated", "bias", "spread", "correlation"]
    table = pd.DataFrame(rows, columns=columns).set_index("quantity")
    pit = xr.DataArray(ranked.pit, dims=("simulation", "quantity"), coords={"quantity": labels})
    found = Calibration(table, pit, ranked.ess, ranked.rhat, alpha, data_sets, source_ess)
    for problem in found.problems:
        warnings.warn(problem, stacklevel=4)
    return found


def _problems(found: Calibration) -> list[str]:
    problems = []
    num = len(found.ess)
    if bad := _num_not_finite(found.pit):
        problems.append(
            f"{bad} of {num} refits have draws that are not finite; they are left out of the "
            "verdict, which says nothing about such data"
        )
    few = int((found.ess < FEWEST).sum())
    if few > FEW * num:
        problems.append(
            f"{few} of {num} refits have fewer than {FEWEST} effective draws, so that their ranks "
            "are coarse; raise num_samples or num_chains, or use a kernel that mixes better"
        )
    apart = int((found.rhat > MOST_RHAT).sum())
    if apart > FEW * num:
        problems.append(
            f"in {apart} of {num} refits chains disagree (split R-hat above {MOST_RHAT}); raise "
            "num_warmup, or use a kernel that mixes better"
        )
    if found.source_ess < num:
        problems.append(
            f"the run from which parameters are drawn has {found.source_ess:.0f} effective draws "
            f"for {num} simulations: they share its error, and an exact kernel is called not "
            f"calibrated more often than the stated rate of {found.alpha:g}; raise num_samples or "
            "num_chains, or use a kernel that mixes better"
        )
    # distances of truth and draws from one random point are correlated without data
    parameters = found.table.drop([*JOINT, DENSITY, DISTANCE], errors="ignore")
    strongest = np.nan_to_num(parameters["correlation"].abs()).max(initial=0.0)
    ranks_parameters = len(parameters) > 0 and LIKELIHOOD not in found.table.index
    if ranks_parameters and strongest < UNRELATED / np.sqrt(num):
        problems.append(
            "means of the draws do not follow the true values (largest correlation "
            f"{strongest:.2f}): draws of the prior, whatever the data, would look calibrated; rank "
            f"{LIKELIHOOD} too, which shows that, by leaving out var_names"
        )
    return problems


def _num_not_finite(pit: xr.DataArray) -> int:
    """Refits with a quantity whose draws are not finite."""
    return int((~np.isfinite(pit.values)).any(axis=1).sum())
