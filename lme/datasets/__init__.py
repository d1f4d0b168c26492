"""Data sets with their documentation: `load`, `list` and `describe`."""

from lme.datasets.catalogue import Column, Description, describe, load
from lme.datasets.catalogue import list_names as list

__all__ = ["Column", "Description", "describe", "list", "load"]
