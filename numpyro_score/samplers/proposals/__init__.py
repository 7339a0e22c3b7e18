"""Learned proposals for exact kernels: draws together with their density."""

from numpyro_score.samplers.proposals.defensive import LearnedProposal
from numpyro_score.samplers.proposals.flow import flow_proposal
from numpyro_score.samplers.proposals.mixture import mixture_proposal
from numpyro_score.samplers.proposals.path import path_proposal
from numpyro_score.samplers.proposals.product import product_proposal
from numpyro_score.samplers.proposals.residual import RoundTrip, round_trip

__all__ = [
    "LearnedProposal",
    "RoundTrip",
    "flow_proposal",
    "mixture_proposal",
    "path_proposal",
    "product_proposal",
    "round_trip",
]
