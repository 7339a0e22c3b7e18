"""All that the diagnostics found in one run, in words: one phrase, a headline, remarks."""

import math

import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.diagnostics import chance_limit
from numpyro_score.diagnostics.assessment import Assessment
from numpyro_score.diagnostics.outcome import FALSE_ALARM, named
from numpyro_score.report.formatting import count, number, percent, rhat
from numpyro_score.report.words import GRAVITY, Remark, Status, on_errors, remarks, status

DROP = "numpyro_score.diagnostics.drop_burn_in(dt) does that."


def on_chains(mixing: xr.Dataset) -> list[Remark]:
    """What R*, nested R-hat and the sampler's own statistics add to R-hat and ESS.

    Parameters
    ----------
    mixing
        As `mixing` returns it.
    """
    found = []
    if mixing.rstar_p_value < FALSE_ALARM:
        found.append(
            Remark(
                "bad" if mixing.rstar > 1.5 else "fair",
                f"A classifier can tell which chain a draw is from: R* is "
                f"{number(float(mixing.rstar))}, where 1 is chance.",
                "The chains differ in some combination of parameters, even if each one agrees.",
            )
        )
    if (mixing.rhat_nested > mixing.rhat_nested_limit).any():
        worst = rhat(float(mixing.rhat_nested.max()))
        finding = f"The superchains disagree: nested R-hat is up to {worst}."
        found.append(Remark("bad", finding, "Warm up longer."))
    found += [
        Remark("fair", sentence, "Take smaller steps, or warm up longer.")
        for sentence in mixing.attrs["findings"]
        if sentence.startswith(("Chains stood still", "Acceptance falls"))
    ]
    return found


def on_burn_in(burn_in: xr.Dataset) -> list[Remark]:
    """Whether the draws remember their start.

    Parameters
    ----------
    burn_in
        As `burn_in` returns it.
    """
    if burn_in.attrs["is_flagged"]:
        is_number = math.isfinite(float(burn_in.num_to_drop))
        grade = "fair" if is_number else "bad"
        advice = DROP if is_number else ""
        return [Remark(grade, sentence, advice) for sentence in burn_in.attrs["findings"]]
    if not np.isfinite(burn_in.ess.values).any():
        return []
    dropped = float(burn_in.recommended)
    if dropped > 0:
        kept = burn_in.attrs["num_warmup"]
        return [
            Remark(
                "good",
                f"Burn-in ended after {count(dropped)} steps, within the warmup of {count(kept)}.",
            )
        ]
    return [Remark("good", "The draws do not remember where the chains started.")]


def on_modes(modes: xr.Dataset, *, is_independent: bool = False) -> list[Remark]:
    """Whether chains agree on the modes.

    Parameters
    ----------
    modes
        As `modes` returns it.
    is_independent
        Whether draws do not depend on each other, so that there is nothing to agree on.
    """
    num_modes = modes.attrs["num_modes"]
    shares = named([percent(share) for share in modes.occupancy.values])
    if is_independent and num_modes > 1:
        return [Remark("good", f"{num_modes} modes are seen, with {shares} of the draws.")]
    advice = (
        "Longer chains of a local kernel seldom help: temper, reparameterise, or propose jumps "
        "between the modes."
    )
    if modes.attrs["is_flagged"]:
        first, *rest = modes.attrs["findings"]
        return [Remark("bad", first, advice), *(Remark("bad", sentence) for sentence in rest)]
    if num_modes == 1:
        return [Remark("good", "One mode is seen.")]
    return [
        Remark(
            "good", f"{num_modes} modes are seen, and the chains agree on their shares: {shares}."
        )
    ]


def on_discrepancy(discrepancy: xr.Dataset) -> list[Remark]:
    """Whether the draws are further from the target than chance explains.

    Parameters
    ----------
    discrepancy
        As `discrepancy` returns it.
    """
    if discrepancy.attrs["is_flagged"]:
        return [Remark("bad", sentence) for sentence in discrepancy.attrs["findings"]]
    known = discrepancy.measure.values[np.isfinite(discrepancy.value.values)]
    if not known.size:
        return []
    plural = "s are" if known.size > 1 else " is"
    return [Remark("good", f"{known.size} distance{plural} no larger than chance makes them.")]


def _misses(errors: pd.DataFrame) -> bool:
    known = errors["error_mcse"].dropna()
    return bool((known > chance_limit(len(known))).any())


def overall(found: Assessment) -> Status:
    """A run in one phrase, by all diagnostics.

    Parameters
    ----------
    found
        As `assess` returns it.
    """
    plain = status(found.verdict)
    is_wrong = _misses(found.errors) or (
        found.discrepancy is not None and bool(found.discrepancy.attrs["is_flagged"])
    )
    if found.verdict.is_approximate and found.verdict.is_independent:
        return Status.BIASED if is_wrong else Status.APPROXIMATE
    if plain is not Status.CONVERGED:
        return plain
    if is_wrong:
        return Status.BIASED
    others = (found.mixing, found.burn_in, found.modes)
    is_odd = any(part is not None and part.attrs["is_flagged"] for part in others)
    return Status.DOUBTFUL if is_odd else plain


def all_remarks(found: Assessment) -> list[Remark]:
    """All there is to say about a run, the gravest first.

    Parameters
    ----------
    found
        As `assess` returns it.
    """
    parts = remarks(found.verdict, found.mixing)
    if not found.verdict.is_independent:
        parts += on_chains(found.mixing)
    if found.burn_in is not None and not found.verdict.is_independent:
        parts += on_burn_in(found.burn_in)
    some = found.verdict.num_parameters > found.verdict.num_constant + found.verdict.num_nonfinite
    if found.modes is not None and some:
        parts += on_modes(found.modes, is_independent=found.verdict.is_independent)
    if found.discrepancy is not None:
        parts += on_discrepancy(found.discrepancy)
    parts += on_errors(found.errors, found.verdict)
    parts += [
        Remark("fair", f"The diagnostic of {name} failed ({why}).")
        for name, why in found.failures.items()
    ]
    return sorted(parts, key=lambda remark: GRAVITY.index(remark.css_class))
