"""Random formulas, command lines and stored fits; each must end in our words.

A target takes a draw and returns nothing: it fails by an exception that is not ours,
by taking longer than `SECONDS`, or by changing its input. `test_fuzz.py` runs each for
seconds, ``tools/fuzz.py`` for minutes.
"""

import contextlib
import copy
import io
import json
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st

import lme
from lme.command_line.program import run
from lme.formula import build_design, parse_formula
from lme.formula.functions import FUNCTIONS
from lme.formula.revision import revise

SECONDS = 10.0
NAMES = ["y", "x", "z", "f", "g", "h", "n", "`a b`", ".", "missing", "T", "NA", "pi"]
NUMBERS = ["0", "1", "-1", "2", "1e300", "1e-320", "1L", "0x1F", ".5", "Inf", "NaN"]
BINARY = [*"+-*/:^~|<>&", "||", "%in%", "%%", "%/%", "==", "!=", "**", "&&", "="]
PIECES = [*NAMES, *NUMBERS, *BINARY, *"(),;[]{}$@?\\'\"`#!", " ", "\n", "\0", "é", "𝑥"]

names = st.sampled_from(NAMES)
leaves = names | st.sampled_from(NUMBERS) | st.sampled_from(["'a'", '"b"', "NULL"])
functions = st.sampled_from(
    [name for name in FUNCTIONS if name.replace(".", "").isidentifier()] + ["nothing"]
)


def _joined(part):
    call = st.tuples(functions, st.lists(part, max_size=3)).map(
        lambda t: f"{t[0]}({', '.join(t[1])})"
    )
    binary = st.tuples(part, st.sampled_from(BINARY), part).map(" ".join)
    return st.one_of(call, binary, part.map("({})".format), part.map("-{}".format))


trees = st.recursive(leaves, _joined, max_leaves=10)
bars = st.tuples(trees, st.sampled_from(["|", "||"]), trees).map(
    lambda t: f"({t[0]} {t[1]} {t[2]})"
)
sensible = st.tuples(st.sampled_from(["y", "n", "log(n)"]), trees, bars).map(
    lambda t: f"{t[0]} ~ {t[1]} + {t[2]}"
)
noise = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
formulas = st.one_of(sensible, noise, trees, st.text(max_size=40))


@cache
def frame():
    """Small data with a column of each kind."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(8), 5)
    return pd.DataFrame(
        {
            **{"y": rng.normal(size=40) + rng.normal(size=8)[g], "g": g},
            **{"x": rng.normal(size=40), "z": np.where(g == 1, np.nan, g / 3.0)},
            "f": pd.Categorical(list("abca" * 10), categories=list("abcd")),
            **{"h": np.tile(list("uvwxy"), 8), "n": rng.poisson(5.0, 40)},
            "a b": rng.random(40) > 0.5,
        }
    )


def digest(data):
    """A number that changes with the data."""
    return int(pd.util.hash_pandas_object(data).sum()) ^ hash(tuple(data.dtypes))


@contextlib.contextmanager
def watched():
    """Our errors pass; anything else, a hang, or changed data fails."""
    before, start = digest(frame()), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(lme.LMEError):
            yield
    taken = time.perf_counter() - start
    assert taken < SECONDS, f"{taken:.1f} s"
    assert digest(frame()) == before, "the data were changed"


def try_formula(text):
    """Parse, revise, build the matrices."""
    with watched():
        parse_formula(text)
    with watched():
        revise("y ~ x + (x | g)", text)
    with watched():
        design = build_design(text, frame())
        assert np.isfinite(design.X).all()


def try_model(text):
    """Fit, and look at the answer."""
    with watched():
        res = lme.lmer(text, frame()).fit()
        assert np.isfinite(res.objective)
        str(res.summary())
        assert len(res.predict(frame(), new_levels="zero", re_form="none")) == 40


words = st.one_of(
    formulas,
    st.sampled_from(["y ~ x + (1 | g)", "n ~ x + (1|h)", "DATA", "sleepstudy", "nope"]),
    st.sampled_from(
        [
            *["--family", "poisson", "binomial", "--link", "log", "--weights", "n"],
            *["--REML", "--nAGQ", "3", "-1", "--ddf", "z", "--level", "0.9", "nan"],
            *["--anova", ". ~ . - x", "--factor", "h", "--subset", "x > 0", "--json"],
            *["--offset", "x", "--version", "--help", "--", "", "--unknown", "--ml"],
        ]
    ),
)
lines = st.tuples(
    st.sampled_from(["y ~ x + (1 | g)", "n ~ f + (1 | h)"]) | formulas,
    st.just("DATA") | words,
    st.lists(words, max_size=4),
).map(lambda t: [t[0], t[1], *t[2]])


@cache
def folder():
    path = Path(tempfile.mkdtemp(prefix="lme-fuzz-"))
    frame().to_csv(path / "data.csv", index=False)
    res = lme.lmer("y ~ x + (1 | g)", frame()).fit()
    res.save_fit(path / "fit.json")
    return path


def try_command(line):
    """Any command line ends with status 0, 1 or 2."""
    where = folder()
    arguments = [str(where / "data.csv") if word == "DATA" else word for word in line]
    # Files are written where a fuzzer may: nowhere.
    if any(word in ("--json", "--save", "--plot") for word in arguments):
        arguments = [word if word != "--json" else "--ml" for word in arguments]
    out = io.StringIO()
    with watched(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            status = run(arguments or ["--help"])
        except SystemExit as stop:
            status = stop.code
        assert status in (0, 1, 2)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True),
    st.text(max_size=8),
    st.sampled_from(["lmm", "glmm", "y ~ x + (1 | g)", [], {}, [1.0], {"a": 1}, 1e308]),
)


@st.composite
def damage(draw):
    """How to spoil a stored fit: values at paths, or bytes in the text."""
    if draw(st.booleans()):
        cuts = st.tuples(st.floats(0, 1), st.binary(max_size=4))
        return ("bytes", draw(st.lists(cuts, min_size=1, max_size=3)))
    change = st.tuples(
        st.lists(st.integers(0, 30), min_size=1, max_size=5),
        st.sampled_from(["set", "delete", "add"]),
        scalars,
    )
    return ("nodes", draw(st.lists(change, min_size=1, max_size=3)))


def _spoil(node, path, how, value):
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = keys[path[0] % len(keys)]
    child, value = node[key], copy.deepcopy(value)
    if len(path) > 1 and isinstance(child, dict | list) and child:
        _spoil(child, path[1:], how, value)
    elif how == "delete":
        del node[key]
    elif how == "add" and isinstance(node, dict):
        node["surplus"] = value
    else:
        node[key] = value


def try_stored(how):
    """A spoilt file is refused, or gives a result."""
    kind, changes = how
    content = (folder() / "fit.json").read_bytes()
    if kind == "bytes":
        for at, piece in changes:
            i = int(at * len(content))
            content = content[:i] + piece + content[i + 1 :]
    else:
        tree = json.loads(content)
        for path, way, value in changes:
            _spoil(tree, path, way, value)
        content = json.dumps(tree).encode("utf-8", "surrogatepass")
    spoilt = folder() / "spoilt.json"
    spoilt.write_bytes(content)
    with watched():
        res = lme.restore_fit(spoilt, frame())
        assert np.isfinite(res.objective)
        str(res.summary())


TARGETS = {
    "formula": (formulas, try_formula),
    "model": (sensible, try_model),
    "command": (lines, try_command),
    "stored": (damage(), try_stored),
}
"""Name -> strategy and what is tried with its draws."""
