"""Pages whose examples need optional packages are skipped where these are missing."""

from importlib.util import find_spec

import pytest

#: Words of an example, and the packages that it needs.
NEEDS = {
    ".plot": ("matplotlib",),
    "lme.plot_": ("matplotlib",),
    "import matplotlib": ("matplotlib",),
    "to_parquet(": ("pyarrow", "dask"),
    "great_table": ("great_tables",),
}


def _missing(package):
    try:
        return find_spec(package) is None
    except ValueError:  # made unavailable on purpose
        return True


def lacking(text):
    """Packages that the examples of a page need and that are not installed."""
    lines = [line.strip() for line in text.splitlines()]
    code = "\n".join(line for line in lines if line.startswith((">>>", "...")))
    wanted = {p for word, needed in NEEDS.items() if word in code for p in needed}
    return sorted(filter(_missing, wanted))


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.suffix == ".rst" and "docs" in item.path.parts:
            gone = lacking(item.path.read_text(encoding="utf-8"))
            if gone:
                reason = f"needs {' and '.join(gone)}"
                item.add_marker(pytest.mark.skip(reason=reason))
