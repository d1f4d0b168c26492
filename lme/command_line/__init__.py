"""``python -m lme``: `program` does what the arguments say, `tables` reads the data."""

from lme.command_line.program import demonstrate, run
from lme.command_line.tables import read_table

__all__ = ["demonstrate", "read_table", "run"]
