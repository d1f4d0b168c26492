"""JSON documents: written at once or not at all, read with every value checked."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError, DataTypeError, OptionError

Array = NDArray[np.float64]

FORMAT = "lme fit"
VERSION = 1
MAX_BYTES = 64_000_000
"""Size beyond which a file cannot be a stored fit."""
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def plain(value: Any) -> Any:
    """`value` in types of JSON; arrays as lists, numbers that are not finite as text.

    Raises
    ------
    TypeError
        For objects that have no such form.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isfinite(number):
            return number
        return (
            "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
        )
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("Names of a mapping are not text.")
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no form in JSON.")


def _path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise DataTypeError(
            f"path is of type {type(path).__name__}.", "Expected the name of a file."
        )
    try:
        return Path(os.fspath(path))
    except TypeError:
        raise DataTypeError("path is not text.", "Expected a name of a file.") from None


def write(path: Any, content: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write a document; a file appears complete or not at all.

    Parameters
    ----------
    path : str or path-like
        Name of the file.
    content : mapping
        Values that `plain` understands.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    OptionError
        If there is a file already.
    DataError
        If the file cannot be written.
    """
    target = _path(path)
    text = json.dumps(plain(content), indent=1, allow_nan=False, ensure_ascii=False)
    try:
        if target.is_dir() or not target.name:
            raise IsADirectoryError("it is a directory")
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        if target.exists() and not overwrite:
            raise _exists(target)
        try:
            part.write_text(text + "\n", encoding="utf-8")
            if overwrite:
                part.replace(target)
            else:
                _place(part, target)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        raise DataError(
            f"{str(target)!r} cannot be written: {_reason(error)}.",
            "Expected a file in a folder that is there and may be written to.",
        ) from None


def _place(part: Path, target: Path) -> None:
    """Give `part` its name, unless another process was faster."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a file system without links
        if target.exists():
            raise _exists(target) from None
        part.replace(target)


def _exists(target: Path) -> OptionError:
    return OptionError(
        f"{str(target)!r} exists already.",
        "A file is not replaced unasked.",
        "Use overwrite=True, or another name.",
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def read(path: Any) -> Reader:
    """Read a document that `write` made.

    Raises
    ------
    DataError
        If the file cannot be read, is not JSON, or is not a stored fit.
    """
    source = _path(path)
    try:
        if source.stat().st_size > MAX_BYTES:
            raise _malformed(source, f"it has more than {MAX_BYTES // 10**6} MB")
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        if isinstance(error, UnicodeDecodeError):
            raise _malformed(source, "it is not text") from None
        raise DataError(
            f"{str(source)!r} cannot be read: {_reason(error)}.",
            "Expected a file that save_fit wrote.",
        ) from None
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(source, f"it is not JSON ({str(error)[:80]})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _malformed(source, f"its format is not {FORMAT!r}")
    version = content.get("version")
    if version != VERSION:
        raise DataError(
            f"{str(source)!r} has version {str(version)[:20]!r} of the format.",
            f"This version of lme reads version {VERSION}.",
            "Install the version of lme that wrote it; it is named in the file.",
        )
    return Reader(content, str(source))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _malformed(source: Path, reason: str) -> DataError:
    return DataError(
        f"{str(source)!r} is not a stored fit: {reason}.",
        "Expected a file that save_fit wrote.",
    )


class Reader:
    """Typed access to a part of a document; anything unexpected is a `DataError`.

    Parameters
    ----------
    content : dict
        What JSON gave.
    source : str
        Name of the file, for messages.
    """

    def __init__(self, content: dict[str, Any], source: str) -> None:
        self._content, self.source = content, source

    def wrong(self, key: str, expected: str) -> DataError:
        """The error for a value that is not what it should be."""
        return DataError(
            f"{self.source!r} is damaged: {key!r} is not {expected}.",
            "Expected a file that save_fit wrote.",
            "Fit the model again.",
        )

    def has(self, key: str) -> bool:
        """Whether there is a value that is not null."""
        return self._content.get(key) is not None

    def part(self, key: str) -> Reader:
        """A mapping within."""
        value = self._content.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "a mapping")
        return Reader(value, self.source)

    def parts(self, key: str) -> dict[str, Reader]:
        """A mapping of mappings within."""
        inner = self.part(key)
        return {name: inner.part(name) for name in inner._content}

    def records(self, key: str) -> list[Reader]:
        """A list of mappings within."""
        value = self._content.get(key)
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise self.wrong(key, "a list of mappings")
        return [Reader(each, self.source) for each in value]

    def mapping(self, key: str) -> dict[str, Any]:
        """A mapping of values that are checked where they are used."""
        return self.part(key)._content

    def text(self, key: str) -> str:
        """Text."""
        value = self._content.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._content.get(key)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._content.get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def whole(self, key: str) -> int:
        """A whole number from 0 to 2^53."""
        value = self._content.get(key)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not 0 <= value <= 2**53
        ):
            raise self.wrong(key, "a whole number")
        return value

    def number(self, key: str, *, finite: bool = True) -> float:
        """A number; with ``finite=False`` also NaN and infinities."""
        found = _number(self._content.get(key))
        if found is None or (finite and not math.isfinite(found)):
            raise self.wrong(key, "a number")
        return found

    def vector(
        self, key: str, size: int | None = None, *, finite: bool = True
    ) -> Array:
        """An array of one dimension, of `size` elements where that is known."""
        value = self._content.get(key)
        numbers = (
            [_number(each) for each in value] if isinstance(value, list) else [None]
        )
        if None in numbers or (size is not None and len(numbers) != size):
            raise self.wrong(key, "a list of numbers of the right length")
        found = np.array(numbers, dtype=np.float64)
        if finite and not np.isfinite(found).all():
            raise self.wrong(key, "a list of finite numbers")
        return found

    def matrix(
        self, key: str, rows: int | None, columns: int, *, finite: bool = True
    ) -> Array:
        """An array of two dimensions."""
        value = self._content.get(key)
        if not isinstance(value, list) or (rows is not None and len(value) != rows):
            raise self.wrong(key, "a matrix of the right shape")
        lines = [
            Reader({key: line}, self.source).vector(key, columns, finite=finite)
            for line in value
        ]
        return np.array(lines, dtype=np.float64).reshape(len(lines), columns)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _SPECIAL.get(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
