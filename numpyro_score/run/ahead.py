"""What the end of a run needs, imported while XLA compiles its beginning."""

import contextlib
import importlib
import sys
import threading

NEEDED = ("scipy.stats", "arviz_stats.base")
"""Packages that the check of the draws imports: half a second, of which compiling hides all."""


def import_ahead() -> None:
    """Import `NEEDED` in a thread of its own; XLA compiles without the interpreter's lock.

    A failure is left to the import that needs the package.
    """

    def work() -> None:
        for name in NEEDED:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    if all(name in sys.modules for name in NEEDED):
        return
    threading.Thread(target=work, name="import_ahead", daemon=True).start()
