"""The algorithms of BlackJAX that ship with the package, and what is known of them."""

from numpyro_score.comparison.external.ensembles import chees, meads
from numpyro_score.comparison.external.laps import late_adjusted
from numpyro_score.comparison.external.microcanonical import tuned_adjusted_mclmc, tuned_mclmc
from numpyro_score.comparison.external.nested import nested_slices
from numpyro_score.comparison.external.populations import tempered_populations
from numpyro_score.comparison.external.protocol import ExternalSampler
from numpyro_score.comparison.external.windows import window_nuts

blackjax_nuts = ExternalSampler(window_nuts, is_exact=True)
"""NUTS with window adaptation of each chain."""

blackjax_mclmc = ExternalSampler(tuned_mclmc, is_exact=False)
"""Microcanonical Langevin, tuned in each chain: approximate."""

blackjax_adjusted_mclmc = ExternalSampler(tuned_adjusted_mclmc, is_exact=True)
"""Microcanonical trajectories with Metropolis-Hastings, tuned in each chain."""

blackjax_meads = ExternalSampler(meads, is_exact=True)
"""Generalised HMC that chains tune for each other; for 32 chains and more."""

blackjax_chees = ExternalSampler(chees, is_exact=True)
"""HMC whose length all chains learn together."""

blackjax_laps = ExternalSampler(late_adjusted, is_exact=True)
"""Microcanonical trajectories that all chains tune together; made for hundreds of chains."""

blackjax_smc = ExternalSampler(tempered_populations, is_exact=False, is_independent=True)
"""Tempered sequential Monte Carlo with random walk moves: approximate."""

# its points are draws of a constrained prior up to the correlation of short slice chains
blackjax_nested = ExternalSampler(nested_slices, is_exact=False, is_independent=True)
"""Nested slice sampling, resampled to independent draws: approximate."""
