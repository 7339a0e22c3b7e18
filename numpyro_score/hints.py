"""What an error says of an argument that does not exist."""

from collections.abc import Sequence
from difflib import get_close_matches

SYNONYMS = {
    "num_draws": "num_samples",
    "draws": "num_samples",
    "tune": "num_warmup",
    "chains": "num_chains",
    "progress_bar": "progress",
}
"""Names of other packages -> those of this one."""


def no_such_argument(owner: str, name: str, known: Sequence[str]) -> str:
    """That there is no such argument, and the one that may be meant.

    Parameters
    ----------
    owner
        What was called.
    name
        The argument that it does not have.
    known
        Those that it has.

    Examples
    --------
    >>> no_such_argument("MALA", "stepsize", ["step_size", "drift_fn"])
    "MALA has no argument 'stepsize'; did you mean 'step_size'?"
    >>> no_such_argument("sample", "draws", ["num_samples", "num_chains"])
    "sample has no argument 'draws'; did you mean 'num_samples'?"
    >>> no_such_argument("MALA", "g", ["step_size", "drift_fn"])
    "MALA has no argument 'g'."
    """
    same = SYNONYMS.get(name)
    close = [same] if same in known else get_close_matches(name, known, n=1)
    return f"{owner} has no argument {name!r}" + (f"; did you mean {close[0]!r}?" if close else ".")
