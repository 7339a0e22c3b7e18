"""Learned proposals for exact kernels: draws of a score's law together with their density."""

from numpyro_score.samplers.proposals.defensive import (
    Draft,
    LearnedProposal,
    ProposalLaw,
    finish,
)
from numpyro_score.samplers.proposals.flow import flow_proposal
from numpyro_score.samplers.proposals.monotone import Encoded, MonotoneFlow
from numpyro_score.samplers.proposals.path import DenoisingPath, path_proposal
from numpyro_score.samplers.proposals.residual import RoundTrip, round_trip

__all__ = [
    "DenoisingPath",
    "Draft",
    "Encoded",
    "LearnedProposal",
    "MonotoneFlow",
    "ProposalLaw",
    "RoundTrip",
    "finish",
    "flow_proposal",
    "path_proposal",
    "round_trip",
]
