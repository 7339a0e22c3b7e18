"""Names that the result can hold: ArviZ's axes and a tree's paths take some away."""

from collections.abc import Iterable, Mapping

AXES = ("chain", "draw")
"""Axes of every variable of the result."""


def stored_name(name: str) -> str:
    """A site's name in the result: `numpyro.handlers.scope` names sites `a/b`, a path in a tree.

    Parameters
    ----------
    name
        In the model.

    Examples
    --------
    >>> stored_name("encoder/weight")
    'encoder.weight'
    """
    return name.replace("/", ".")


def check_names(sites: Iterable[str], dims: Mapping[str, Iterable[str]]) -> None:
    """Refuse names that the result cannot hold, before anything is run.

    Parameters
    ----------
    sites
        Names of the variables.
    dims
        Site -> names of its plates and of its own dimensions.

    Raises
    ------
    ValueError
        If a site or a plate is named `chain` or `draw`, a site is named as a plate, or two sites
        have one name in the result. The message says what to rename.

    Examples
    --------
    >>> check_names(["draw"], {})
    Traceback (most recent call last):
    ValueError: the site 'draw' is named as an axis of the result; rename it in the model, such as
    'draw_site'
    """
    sites = list(sites)
    plates = {plate for names in dims.values() for plate in names}
    for kind, names in (("site", sites), ("plate", sorted(plates))):
        for name in names:
            if name in AXES:
                raise ValueError(
                    f"the {kind} {name!r} is named as an axis of the result; rename it in the "
                    f"model, such as {f'{name}_{kind}'!r}"
                )
    taken: dict[str, str] = {}
    for name in sites:
        if name in plates:
            raise ValueError(
                f"the site {name!r} is named as a plate, which names a dimension of the result; "
                f"rename the plate in the model, such as {f'{name}_plate'!r}"
            )
        stored = stored_name(name)
        if stored in taken:
            raise ValueError(
                f"the sites {taken[stored]!r} and {name!r} are both {stored!r} in the result; "
                f"rename one in the model, such as {stored.replace('.', '_')!r}"
            )
        taken[stored] = name
