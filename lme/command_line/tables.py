"""Tables that a command names: files, and the data sets of the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import lme
from lme.errors import DataError, LMEError, near


def read_table(name: str) -> pd.DataFrame:
    """A table from a file, or a data set of the package.

    Parameters
    ----------
    name : str
        Path of a file that ends in .csv, .tsv, .txt (tabs) or .parquet, where .gz, .bz2
        or .xz may follow; or a name from ``lme.datasets.list()``.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as a table.
    """
    path = Path(name)
    try:
        there = bool(name) and path.exists()
    except (OSError, ValueError):
        there = False
    if not there:
        if name in lme.datasets.list():
            return lme.datasets.load(name)
        known = [*lme.datasets.list(), *_neighbours(path)]
        raise DataError(
            f"There is no file {name[:80]!r}, and no data set of that name.",
            "Expected a file, or one of " + ", ".join(lme.datasets.list()) + ".",
            near(name, known),
        )
    if path.is_dir():
        raise DataError(f"{name!r} is a directory.", "Expected a file with a table.")
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    packed = endings[-1:] in (["." + kind] for kind in ("gz", "bz2", "xz", "zip"))
    ending = (endings[-2:-1] if packed else endings[-1:]) or [""]
    try:
        return _read(path, ending[0])
    except LMEError:
        raise
    except UnicodeDecodeError:
        raise DataError(
            f"{name!r} is not text in UTF-8.",
            "Expected a table of text, or a .parquet file.",
            "Save the table in UTF-8.",
        ) from None
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name!r} cannot be read: {reason}.") from None
    except ImportError:
        raise DataError(
            f"{name!r} cannot be read: pyarrow is not installed.",
            remedy="Install it, or save the table as .csv.",
        ) from None
    except (ValueError, OverflowError, pd.errors.ParserError) as error:
        reason = str(error).strip().splitlines() or ["unknown reason"]
        raise DataError(
            f"{name!r} is not a table: {reason[0].rstrip('.')}.",
            "Expected columns with a line of names first, in UTF-8.",
            "The ending tells the kind: .csv, .tsv, .parquet.",
        ) from None


def _neighbours(path: Path) -> list[str]:
    """Files beside a path that is not there."""
    try:
        return [str(path.parent / each.name) for each in path.parent.iterdir()][:500]
    except (OSError, ValueError):
        return []


def _read(path: Path, ending: str) -> pd.DataFrame:
    if ending in (".parquet", ".pq"):
        # Errors of pyarrow are ValueErrors and OSErrors.
        return pd.read_parquet(path)
    if ending not in (".csv", ".tsv", ".txt", ".tab"):
        raise DataError(
            f"The kind of {str(path)!r} is not known by its ending {ending!r}.",
            "Expected .csv, .tsv, .txt or .parquet, where .gz may follow.",
        )
    separator = "," if ending == ".csv" else "\t"
    frame = pd.read_csv(path, sep=separator, low_memory=False)
    if frame.columns.size == 1 and ending == ".csv":
        head = str(frame.columns[0])
        for other, word in ((";", "semicolons"), ("\t", "tabs")):
            if other in head:
                raise DataError(
                    f"The columns of {str(path)!r} are separated by {word}.",
                    "Expected commas in a .csv file.",
                    "Name a file with tabs .tsv." if other == "\t" else "",
                )
    frame.attrs["name"] = path.name
    return frame


def categories(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The table with some columns as categories.

    Raises
    ------
    DataError
        If there is no such column.
    """
    for name in names:
        if name not in frame:
            raise DataError(
                f"--factor: there is no column {name!r}.",
                f"The columns are {', '.join(map(str, frame.columns))}.",
                near(name, map(str, frame.columns)),
            )
    return frame.assign(**{name: frame[name].astype("category") for name in names})
