"""Learned proposals for exact kernels: draws of a score's law together with their density."""

from numpyro_score.samplers.proposals.flow import Draft, FlowProposal, finish, flow_proposal
from numpyro_score.samplers.proposals.monotone import Encoded, MonotoneFlow
from numpyro_score.samplers.proposals.residual import RoundTrip, round_trip

__all__ = [
    "Draft",
    "Encoded",
    "FlowProposal",
    "MonotoneFlow",
    "RoundTrip",
    "finish",
    "flow_proposal",
    "round_trip",
]
