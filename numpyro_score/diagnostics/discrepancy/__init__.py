"""Distances between draws and what they should be draws of.

The call::

    discrepancy(
        dt, *, target=None, logdensity_fn=None, score_fn=None, reference=None, variables=None,
        max_draws=20_000, classifier=None, seed=0,
    ) -> xarray.Dataset

At least one of `target`, `logdensity_fn`, `score_fn` and `reference` is given; the measures that
they do not suffice for are NaN, with the reason. The result has one dimension, `measure`:

=====================  ==============================================  ========================
measure                what it is                                      takes
=====================  ==============================================  ========================
`ksd`                  kernel Stein discrepancy, inverse multiquadric  a score
`ksd_moments`          the same with a kernel for first and second     a score
                       moments
`ksd_perturbed`        the same after one jump between the density's   a log density, two modes
                       modes: tests their weights
`mmd`                  maximum mean discrepancy                        reference draws
`mmd_moments`          the same of first and second moments alone      reference draws
`sliced_wasserstein`   sliced 2-Wasserstein distance                   reference draws
`sliced_ks`            sliced Kolmogorov-Smirnov distance              reference draws
`sinkhorn_w2`          Sinkhorn's 2-Wasserstein distance               reference draws
`c2st`                 accuracy of a classifier that tells the draws   reference draws
                       from the reference
=====================  ==============================================  ========================

with variables along `measure`

* `value`, and its `floor`, what exact draws have on average at the same sample size, with
  `floor_sd`, their standard deviation (NaN where it is not known)
* `v`, `u`: V- and U-statistic, squared (of `ksd*` and `mmd*`, NaN elsewhere)
* `p_value`: probability of a value as large for exact draws (NaN where none is computed)
* `num_draws`: draws that it is of
* `is_flagged`: more than chance, at a probability of a false alarm of `FALSE_ALARM` over all
* `unit`, `meaning` (what it detects, and what not) and `reason` (why there is nothing, or ""),
  texts

and the attributes of every diagnostic (`outcome.py`: `is_flagged`, `findings`, `notes`),
`blindness` (what a kernel Stein discrepancy cannot detect), `tau`, `num_draws`, `num_reference` and
`num_modes` (modes of the density that were found, 0 where it was not looked for them).
"""

from numpyro_score.diagnostics.discrepancy.measure import discrepancy
from numpyro_score.diagnostics.discrepancy.rows import MEASURES, Measure

__all__ = ["MEASURES", "Measure", "discrepancy"]
