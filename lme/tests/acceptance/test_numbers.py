"""Every scenario of the list has its tests, and every test here its scenario."""

import re
from pathlib import Path

# The last scenario of each part of section E, E.1 first.
LAST = [25, 38, 49, 54, 71, 82, 87, 96, 100]


def _numbers(path):
    """Scenarios of one file, in the order of its tests."""
    found = re.findall(r"^def test_(\w+)\(", path.read_text(encoding="utf-8"), re.M)
    return [int(name.split("_")[0]) for name in found]


def test_scenarios_are_complete_and_in_order():
    files = sorted(Path(__file__).parent.glob("test_e*.py"))
    assert len(files) == len(LAST)
    first = 1
    for path, last in zip(files, LAST, strict=True):
        numbers = _numbers(path)
        # A scenario may have several tests, which follow one another.
        assert list(dict.fromkeys(numbers)) == list(range(first, last + 1)), path.name
        assert numbers == sorted(numbers), path.name
        first = last + 1
