import hashlib
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lme.datasets
from lme.datasets.storage import decode, encode
from lme.errors import DataError

FOLDER = Path(lme.datasets.__file__).parent
SHARED = Path(__file__).resolve().parents[3] / "shared" / "reference"

# Rows, columns and the first digits of the SHA-256 of `fingerprint`.
CHECKSUMS = {
    "cake": (270, 5, "122a27558c3bc407"),
    "cbpp": (56, 4, "b3c1afc8bdcb247a"),
    "Contraception": (1934, 7, "3f02815689532998"),
    "Dyestuff": (30, 2, "42dc84a159a31a09"),
    "Dyestuff2": (30, 2, "b30e75d4e66c4b9f"),
    "grouseticks": (403, 7, "52fccdad53d01641"),
    "InstEval": (73421, 7, "a7997df46a247e24"),
    "Machines": (54, 3, "7682e3eeb7c26e5f"),
    "oats": (72, 6, "c24da9f061f174a5"),
    "Orthodont": (108, 4, "fea53911184817f5"),
    "Pastes": (60, 4, "7faf8947dc9f632a"),
    "Penicillin": (144, 3, "53660c622460d2f3"),
    "ScotsSec": (3435, 6, "9a9a3990d7cc9320"),
    "sleepstudy": (180, 3, "d927bfd5dc228e71"),
    "tablets": (20, 3, "ee0c9f255551852c"),
    "tablets_missing": (40, 3, "f78674efc38c8f16"),
    "VerbAgg": (7584, 9, "b0df8ebb1f7c72c0"),
}


def fingerprint(frame):
    digest = hashlib.sha256()
    for name, column in frame.items():
        digest.update(name.encode())
        if isinstance(column.dtype, pd.CategoricalDtype):
            digest.update("|".join(column.cat.categories).encode())
            digest.update(b"<" if column.cat.ordered else b",")
            digest.update(column.cat.codes.to_numpy(np.int64).tobytes())
        else:
            digest.update(column.to_numpy(np.float64).tobytes())
    return digest.hexdigest()[:16]


def test_every_data_set_has_its_checksum():
    assert sorted(CHECKSUMS) == sorted(lme.datasets.list())


@pytest.mark.parametrize("name", CHECKSUMS)
def test_stored_data(name):
    frame = lme.datasets.load(name)
    assert (*frame.shape, fingerprint(frame)) == CHECKSUMS[name]


@pytest.mark.parametrize("name", CHECKSUMS)
def test_against_reference(name):
    if not SHARED.exists():
        pytest.skip("no ../shared/reference beside the clone")
    load = runpy.run_path(str(SHARED / "load.py"))["load"]
    expected = load(name, root=str(SHARED))
    pd.testing.assert_frame_equal(lme.datasets.load(name), expected)


@pytest.mark.parametrize("name", CHECKSUMS)
def test_documentation(name):
    about = lme.datasets.describe(name)
    frame = lme.datasets.load(name)
    assert about.nrow == len(frame)
    assert [column.name for column in about.columns] == list(frame.columns)
    for column in about.columns:
        assert column.text and column.unit
        dtype = frame[column.name].dtype
        if isinstance(dtype, pd.CategoricalDtype):
            expected = "ordered factor" if dtype.ordered else "factor"
            assert column.unit == expected
        else:
            assert "factor" not in column.unit
    assert about.source and about.text and about.formula.count("|")
    assert name in str(about) and max(map(len, str(about).splitlines())) <= 79


def test_factors_as_in_r():
    sleep = lme.datasets.load("sleepstudy")
    assert list(sleep["Subject"].cat.categories[:2]) == ["308", "309"]
    assert not sleep["Subject"].cat.ordered
    # Neither alphabetical nor in order of appearance: only R's order is right.
    workers = lme.datasets.load("Machines")["Worker"]
    assert list(workers.cat.categories) == ["6", "2", "4", "1", "3", "5"]
    assert workers.cat.ordered


def test_missing_is_nan():
    assert lme.datasets.load("tablets_missing")["y"].isna().sum() == 10


def test_each_load_is_a_fresh_frame():
    first = lme.datasets.load("Dyestuff")
    first.loc[0, "Yield"] = -1.0
    first["Batch"] = first["Batch"].cat.rename_categories(lambda level: level * 2)
    again = lme.datasets.load("Dyestuff")
    assert again.loc[0, "Yield"] == 1545.0
    assert list(again["Batch"].cat.categories) == list("ABCDEF")


@pytest.mark.parametrize(
    "name, suggestion",
    [
        ("Sleepstudy", "Did you mean 'sleepstudy'?"),
        ("insteval", "Did you mean 'InstEval'?"),
        ("sleepstudi", "Did you mean 'sleepstudy'?"),
        ("mtcars", "lme.datasets.list()"),
        (3, "lme.datasets.list()"),
    ],
)
@pytest.mark.parametrize("function", [lme.datasets.load, lme.datasets.describe])
def test_unknown_name(function, name, suggestion):
    with pytest.raises(DataError, match="There is no data set") as caught:
        function(name)
    assert suggestion in str(caught.value)
    assert "Known are" in caught.value.expected


def test_all_files_are_small_and_named_in_the_registry():
    files = list(FOLDER.glob("*.txt.gz"))
    assert {file.name.removesuffix(".txt.gz") for file in files} == set(CHECKSUMS)
    assert sum(file.stat().st_size for file in files) < 1_000_000


def test_storage_round_trip():
    frame = pd.DataFrame(
        {
            "number": [0.1, np.nan, -1e300, 5e-324, 1 / 3],
            "integer": [1, -2, 3, 2**53 + 1, 0],
            "logical": [True, False, True, True, False],
            "factor": pd.Categorical.from_codes([0, -1, 1, 1, 0], ["b", "a,\u00e9"]),
            "ordered": pd.Categorical.from_codes([0, 0, 1, 1, 2], list("xyz"), True),
        }
    )
    packed = encode(frame)
    pd.testing.assert_frame_equal(decode(packed), frame)
    assert encode(frame) == packed
