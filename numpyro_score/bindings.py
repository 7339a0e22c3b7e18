"""Binds NumPyro's submodules to their packages where an import of ArviZ has lost them.

ArviZ loads NumPyro lazily. Where `import arviz` comes first and a submodule of NumPyro is imported
next (`from numpyro.infer import MCMC`), Python runs NumPyro's own imports in the middle of that,
makes `numpyro.infer` twice, and binds its submodules to the copy that is thrown away:
`numpyro.infer.initialization` is then imported and yet no attribute, and `arviz.from_numpyro`,
which asks for it that way, fails.
"""

import sys


def bind_submodules(package: str = "numpyro") -> None:
    """Set every imported submodule of `package` as an attribute of its parent, where it is not.

    Parameters
    ----------
    package
        Name of an imported package.

    Examples
    --------
    >>> import numpyro.infer
    >>> bind_submodules()
    >>> hasattr(numpyro.infer, "initialization")
    True
    """
    for name, module in list(sys.modules.items()):
        parent, _, child = name.rpartition(".")
        if not name.startswith(f"{package}.") or parent not in sys.modules or module is None:
            continue
        if child not in vars(sys.modules[parent]):
            setattr(sys.modules[parent], child, module)
