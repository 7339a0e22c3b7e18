"""Identity of a stored comparison: runs of other targets or kernels are not taken for its own.

A comparison knows its runs by the names of target and kernel, under which there can be other data
and other options the next time. Targets are compared by their log density at fixed points, kernels
by the settings that their complete runs have recorded.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpyro_score.comparison.external.protocol import ExternalSampler
from numpyro_score.comparison.jobs import RunJob
from numpyro_score.comparison.result import Settings, plain_settings
from numpyro_score.run.claim import RECORD
from numpyro_score.run.identity import kernel_in_words
from numpyro_score.run.probes import differing_probes, probe_density
from numpyro_score.run.zarr_group import complete_attributes
from numpyro_score.targets import Target

DENSITIES = "densities"
"""Entry of a record: target -> its log density at fixed points. Earlier versions lack it."""


def record(
    settings: Settings, key: tuple[Any, str], targets: Sequence[Target], kernels: Iterable[str]
) -> dict[str, Any]:
    """What makes a comparison what it is, as JSON holds it.

    Parameters
    ----------
    settings
        What all runs have in common.
    key
        Of the comparison, as `key_data` returns it.
    targets, kernels
        What is compared, and the names of the kernels.
    """
    return {
        "settings": plain_settings(settings),
        "key": [*map(int, key[0].ravel()), key[1]],
        "targets": [target.name for target in targets],
        "kernels": list(kernels),
        DENSITIES: {one.name: probe_density(one.logdensity_fn, one.dim) for one in targets},
    }


def differences(known: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What distinguishes two comparisons, in words; empty for the same one.

    Parameters
    ----------
    known
        The record in a store.
    new
        That of the comparison which is to go on with it.

    Examples
    --------
    >>> differences({"kernels": ["nuts"]}, {"kernels": ["mala"]})
    ["kernels was ['nuts'], is ['mala']"]
    """
    plain = [name for name in new if name != DENSITIES and known.get(name) != new[name]]
    found = [f"{name} was {known.get(name)}, is {new[name]}" for name in plain]
    if found or DENSITIES not in known:
        return found
    return [
        f"target {name!r} is another one: {'; '.join(changed)}"
        for name, probes in new[DENSITIES].items()
        if (changed := differing_probes(known[DENSITIES][name], probes))
    ]


def check_kernels(jobs: Sequence[RunJob]) -> None:
    """Check that complete runs in the store are of the kernels that are given now.

    Runs of external samplers record no settings.

    Parameters
    ----------
    jobs
        All of them.

    Raises
    ------
    ValueError
        If a complete run is of another kernel, or of one with other settings.
    """
    for job in jobs:
        known = _recorded_kernel(job)
        if known is None or isinstance(job.factory, ExternalSampler):
            continue
        try:
            new = kernel_in_words(job.factory(job.target.model))
        except Exception:
            # its row will have the reason
            continue
        if known != new:
            raise ValueError(
                f"the store holds a complete run of another kernel {job.kernel!r} on "
                f"{job.target.name!r}: it was {known} and is {new}; give the kernel another name, "
                f"or another store, or remove the folder {job.store}"
            )


def _recorded_kernel(job: RunJob) -> str | None:
    attrs = None if job.store is None else complete_attributes(job.store)
    return attrs[RECORD]["identity"]["kernel"] if attrs and RECORD in attrs else None
