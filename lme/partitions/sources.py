"""Data that are read a partition at a time: Dask frames, Parquet, data sets of Arrow.

A partition is a pandas frame. It is one of Dask's partitions, or a row group of a
Parquet file; of other files of Arrow, a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from lme.errors import DataError, DataTypeError, LMEError

Result = TypeVar("Result")
Task = Callable[[pd.DataFrame, int], Result]
"""From a partition and its number to a result; picklable for other processes."""
Absorb = Callable[[Result], None]

#: Rows of a batch where files do not come in row groups.
_BATCH = 2**17


class Source(Protocol):
    """Columns in partitions."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""

    @property
    def name(self) -> str:
        """Name of the data where they have one, else empty."""

    def fold(
        self, task: Task[Result], absorb: Absorb[Result], columns: Sequence[str]
    ) -> None:
        """Hand the result of each partition to `absorb`, in their order."""

    def lazy(self) -> Any:
        """The data as a Dask frame."""


def is_partitioned(data: Any) -> bool:
    """Whether data are to be read by partitions: a Dask frame, paths, a data set.

    Examples
    --------
    >>> is_partitioned("trips.parquet"), is_partitioned({"y": [1.0]})
    (True, False)
    """
    return (
        _is_dask(data)
        or _is_dataset(data)
        or isinstance(data, (str, Path))
        or _are_paths(data)
    )


def source_of(data: Any) -> Source:
    """Something to read partitions from.

    Parameters
    ----------
    data : dask.dataframe.DataFrame, pyarrow.dataset.Dataset, path, or list of paths
        A path is that of a Parquet file or of a folder of such.

    Raises
    ------
    DataTypeError, DataError
        For anything else, and for paths that hold no Parquet file.
    """
    if _is_dask(data):
        return DaskSource(data)
    if _is_dataset(data):
        return DatasetSource(data)
    if isinstance(data, (str, Path)) or _are_paths(data):
        return DatasetSource(_dataset(data))
    raise DataTypeError(
        f"The data are of type {type(data).__name__}.",
        "Expected a Dask frame, a Parquet path, or a data set of pyarrow.",
    )


def _is_dask(data: Any) -> bool:
    # A Dask frame can only exist where Dask is imported.
    module = sys.modules.get("dask.dataframe")
    if module is None:
        return False
    return isinstance(data, (module.DataFrame, module.Series))


def _is_dataset(data: Any) -> bool:
    module = sys.modules.get("pyarrow.dataset")
    return module is not None and isinstance(data, module.Dataset)


def _are_paths(data: Any) -> bool:
    return (
        isinstance(data, (list, tuple))
        and len(data) > 0
        and all(isinstance(each, (str, Path)) for each in data)
    )


def _dataset(paths: Any) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.dataset as ds
    except ImportError as error:
        raise DataTypeError(
            f"The data are a path, {str(paths)[:60]!r}, and pyarrow is not installed.",
            "Parquet files are read with it.",
            "pip install pyarrow",
        ) from error
    several = not isinstance(paths, (str, Path))
    where = [str(each) for each in paths] if several else str(paths)
    try:
        # In a folder, names such as "_SUCCESS" and ".crc" are left out by pyarrow.
        return ds.dataset(where, format="parquet", partitioning="hive")
    except (OSError, pa.ArrowException, TypeError, ValueError) as error:
        reason = [*str(error).splitlines(), "no such file"][0]
        raise DataError(
            f"{str(paths)[:80]!r} cannot be read: {reason}",
            "A path is that of a Parquet file, or of a folder of such.",
            "Other data are passed as a frame, or a formula and data were swapped.",
        ) from error


@dataclass(frozen=True)
class Numbered:
    """A task whose errors say in which partition they happened."""

    task: Task[Any]

    def __call__(self, frame: pd.DataFrame, number: int) -> Any:
        """The result of one partition."""
        try:
            return self.task(frame, number)
        except LMEError as error:
            words = f"In partition {number}: {error.found}"
            raise type(error)(words, error.expected, error.remedy) from error


@dataclass(frozen=True)
class DatasetSource:
    """A data set of pyarrow, by row groups.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
    """

    dataset: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.dataset.schema.names)

    @property
    def name(self) -> str:
        """The file or folder, where there is one."""
        files = getattr(self.dataset, "files", [])
        return Path(files[0]).name if len(files) == 1 else ""

    def fold(
        self, task: Task[Result], absorb: Absorb[Result], columns: Sequence[str]
    ) -> None:
        """Hand the result of each row group to `absorb`."""
        run = Numbered(task)
        for number, frame in enumerate(self._frames(list(columns))):
            absorb(run(frame, number))

    def _frames(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        schema = self.dataset.schema
        for piece in self.pieces():
            for batch in batches(piece, columns, schema):
                yield batch.to_pandas(split_blocks=True, self_destruct=True)

    def pieces(self) -> Iterator[Any]:
        """Fragments of one row group each, or whole ones of other files."""
        for fragment in self.dataset.get_fragments():
            if hasattr(fragment, "split_by_row_group"):
                yield from fragment.split_by_row_group()
            else:
                yield fragment

    def lazy(self) -> Any:
        """The data as a Dask frame, a partition each row group."""
        import dask.dataframe as dd

        schema = self.dataset.schema
        columns = list(self.columns)
        meta = schema.empty_table().to_pandas()[columns]
        pieces = list(self.pieces())
        make: Any = dd.from_map
        return make(ReadPiece(columns, schema), pieces, meta=meta)


def batches(fragment: Any, columns: list[str], schema: Any) -> Iterator[Any]:
    """Tables of a fragment: all of a row group, or batches of other files.

    Raises
    ------
    DataError
        For a file that cannot be read, or whose types differ from those of the others.
    """
    import pyarrow as pa

    try:
        if hasattr(fragment, "split_by_row_group"):
            # Without readahead no other row group is held meanwhile.
            yield fragment.to_table(schema=schema, columns=columns, use_threads=False)
            return
        options = {"batch_readahead": 0, "fragment_readahead": 0}
        for batch in fragment.to_batches(
            schema=schema, columns=columns, batch_size=_BATCH, **options
        ):
            yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:
        where = getattr(fragment, "path", "a file")
        raise DataError(
            f"{where!r} cannot be read: {str(error).splitlines()[0]}",
            "All files must have the columns and types of the first.",
        ) from error


@dataclass(frozen=True)
class ReadPiece:
    """Reads a fragment as a pandas frame, in whatever process."""

    columns: list[str]
    schema: Any

    def __call__(self, fragment: Any) -> pd.DataFrame:
        """All rows of the fragment."""
        import pyarrow as pa

        tables = list(batches(fragment, self.columns, self.schema))
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame.reset_index(drop=True)[self.columns]


@dataclass(frozen=True)
class DaskSource:
    """A Dask frame, by its partitions.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame

    Notes
    -----
    With a client of ``distributed`` in this process its workers run the tasks, and the
    results come here one by one. Without one the tasks run in this process, one after
    the other, whatever scheduler is configured: a scheduler of threads would hold a
    partition in each.
    """

    frame: Any

    def __post_init__(self) -> None:
        if self.frame.ndim != 2:
            raise DataTypeError(
                "The data are a single column of Dask.",
                "Expected a Dask frame.",
                "Pass the frame that it comes from.",
            )
        names = [str(name) for name in self.frame.columns]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise DataError(
                f"The data have more than one column named {doubled[0]!r}.",
                "Column names must be different from each other.",
                "Rename the columns.",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(str(name) for name in self.frame.columns)

    @property
    def name(self) -> str:
        """Empty: a Dask frame has no name that a user would know."""
        return ""

    def lazy(self) -> Any:
        """The frame itself."""
        return self.frame

    def fold(
        self, task: Task[Result], absorb: Absorb[Result], columns: Sequence[str]
    ) -> None:
        """Hand the result of each partition to `absorb`."""
        chosen = [name for name in self.frame.columns if str(name) in columns]
        parts = self.frame[chosen].to_delayed()
        client = _client()
        if client is None:
            self._fold_here(Numbered(task), absorb, parts)
        else:
            _fold_there(client, Numbered(task), absorb, parts)

    def _fold_here(
        self, run: Numbered, absorb: Absorb[Result], parts: Sequence[Any]
    ) -> None:
        from dask.delayed import delayed

        def step(_: Any, frame: pd.DataFrame, number: int) -> None:
            absorb(run(frame, number))

        # Each step waits for the one before it, and its partition is dropped with it.
        once = delayed(step, pure=False)
        last: Any = None
        for number, part in enumerate(parts):
            last = once(last, part, number)
        if last is not None:
            last.compute(scheduler="synchronous")


def _fold_there(
    client: Any, run: Numbered, absorb: Absorb[Result], parts: Sequence[Any]
) -> None:
    """On the workers of a cluster, all of which get the task once."""
    from dask.delayed import delayed

    task = client.scatter(run, broadcast=True, hash=False)
    calls = [
        delayed(_call, pure=False)(task, part, number)
        for number, part in enumerate(parts)
    ]
    futures = client.compute(calls)
    try:
        # In their order, so that the sums do not depend on which worker was first.
        for i in range(len(futures)):
            absorb(futures[i].result())
            futures[i] = None
    finally:
        # A traceback may still refer to them: released by hand.
        client.cancel([task, *(each for each in futures if each is not None)])


def _call(run: Numbered, frame: pd.DataFrame, number: int) -> Any:
    return run(frame, number)


def _client() -> Any:
    """The current client of ``distributed``; None without one."""
    module = sys.modules.get("distributed")
    if module is None:
        return None
    try:
        return module.get_client()
    except ValueError:
        return None
