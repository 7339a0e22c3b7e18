"""Learned proposals for exact kernels: draws of a score's law together with their density."""

from numpyro_score.samplers.proposals.flow import FlowProposal, flow_proposal
from numpyro_score.samplers.proposals.monotone import Encoded, MonotoneFlow
from numpyro_score.samplers.proposals.residual import RoundTrip, round_trip

__all__ = [
    "Encoded",
    "FlowProposal",
    "MonotoneFlow",
    "RoundTrip",
    "flow_proposal",
    "round_trip",
]
