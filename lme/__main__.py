"""``python -m lme``: a model from the shell; without arguments, a demonstration."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lme.command_line import run


def main(arguments: Sequence[str] = ()) -> int:
    """Run the command line; without arguments the demonstration."""
    return run(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
