"""`python -m numpyro_score`: the command `numpyro-score`."""

import sys

from numpyro_score.cli import main

if __name__ == "__main__":
    sys.exit(main())
