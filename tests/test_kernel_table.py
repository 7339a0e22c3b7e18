"""The table of kernels that tests go through holds every public one."""

from numpyro.infer.mcmc import MCMCKernel

import numpyro_score.infer
import numpyro_score.kernels
from tests.kernel_table import CLASSES, KERNELS


def test_every_kernel_is_in_the_table() -> None:
    public = set(numpyro_score.kernels.__all__) - {"Ladder", "whitened"}
    builds = [kernel.api.build_kernel for kernel in KERNELS.values()]
    missing = {
        name for name in public if getattr(numpyro_score.kernels, name).build_kernel not in builds
    }
    assert not missing


def test_every_class_is_in_the_table() -> None:
    public = {
        name
        for name in numpyro_score.infer.__all__
        if isinstance(thing := getattr(numpyro_score.infer, name), type)
        and issubclass(thing, MCMCKernel)
        and name != "NumPyroKernel"
    }
    assert public <= set(CLASSES)
