"""The import rule and the other rules of the house, read off the source.

Data flow one way: a module may import only what stands before it in LAYERS,
and inside a folder only what stands before it in ORDER.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]

# Rows later in the list may import from earlier ones; one row, one layer.
LAYERS = [
    ["errors"],
    ["formula", "families", "covariance", "datasets"],
    ["engine"],
    ["search", "convergence"],
    ["fit"],
    ["inference"],
    ["report"],
    ["results"],
    ["model"],
    ["__init__"],
    ["__main__"],
]
PLANNED = {"families", "selinv", "cholmod"}  # named here before the module exists
# What a layer may import of the package, where that is less than all before it.
ONLY = {"datasets": {"errors"}, "formula": {"errors"}, "covariance": {"errors"}}

# The order inside a folder; modules on one row do not import each other.
ORDER = {
    "datasets": [["storage"], ["catalogue"]],
    "formula": [
        ["values", "tokens"],
        ["syntax", "arguments", "table"],
        ["parser", "expand"],
        ["bars"],
        ["parts", "revision"],
        ["coding"],
        ["arithmetic", "factors", "transforms"],
        ["splines"],
        ["functions"],
        ["evaluation"],
        ["matrices"],
        ["groups", "response"],
        ["recipe"],
        ["records"],
        ["arrays", "design"],
        ["checks"],
    ],
    "engine": [
        ["relcov", "kernel", "decompositions"],
        ["crossproducts", "elimination"],
        ["coupling", "dense", "system"],
        ["stages"],
        ["selinv"],
        ["blocked", "cholmod"],
        ["choice"],
        ["lmm"],
        ["moments"],
    ],
    "inference": [
        ["text", "estimates"],
        ["components", "wald", "comparison"],
        ["modes"],
        ["internals"],
        ["prediction"],
    ],
    "report": [["tables"], ["summary"]],
}

# Layers that may hold data frames; the engine sees arrays only.
FRAMES = ["formula", "families", "fit", "inference", "report", "results", "model"]

# External package -> modules and folders that may import it.
THIRD_PARTY = {
    "numpy": ["*"],
    "scipy": ["*"],
    "pandas": [*FRAMES, "datasets"],
    "narwhals": ["formula", "model"],
    "polars": ["formula", "model"],
    "pyarrow": ["formula", "model"],
    "patsy": ["inference.wald", "results"],
    "sksparse": ["engine.cholmod"],
    "statsmodels": ["families", "report", "results", "model"],
    "matplotlib": ["report.plots"],
    "threadpoolctl": ["engine", "fit"],
    "tqdm": ["inference"],
    "dask": ["engine", "inference", "fit"],
}
# External packages that may be imported inside a function: optional ones.
LAZY = {"matplotlib", "dask", "sksparse", "narwhals", "polars", "pyarrow", "tqdm"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
STANDARD_LIBRARY = {"code", "runpy"}  # modules that run code: not in the package
MAX_LINES = 400


@dataclass(frozen=True)
class Import:
    target: str  # dotted name as written, absolute
    line: int
    lazy: bool  # inside a function
    typing: bool  # under `if TYPE_CHECKING:`


def _is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_of(tree, module):
    """Every import in a module, wherever it stands."""
    found = []

    def visit(node, lazy, typing):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            lazy = True
        typing = typing or _is_type_checking(node)
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append(Import(alias.name, node.lineno, lazy, typing))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level]
                base = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                found.append(Import(f"{base}.{alias.name}", node.lineno, lazy, typing))
        for child in ast.iter_child_nodes(node):
            visit(child, lazy, typing)

    visit(tree, False, False)
    return found


def layer(name):
    """Row of LAYERS for a top-level name, or None."""
    return next((i for i, row in enumerate(LAYERS) if name in row), None)


def _rank_inside(folder, name):
    rows = ORDER[folder]
    return next((i for i, row in enumerate(rows) if name in row), None)


def _check_inside_package(module, target, known):
    """Complaint about importing `target` in `module`; both without "lme."."""
    parts, own = target.split("."), module.split(".")
    top = parts[0]
    if layer(own[0]) is None:
        return f"{own[0]} has no place in LAYERS"
    if top == own[0]:
        if len(own) == 1 or own[1] == "__init__" or top not in ORDER:
            return None
        inner = parts[1] if len(parts) > 1 else "__init__"
        mine, theirs = _rank_inside(top, own[1]), _rank_inside(top, inner)
        if mine is None:
            return f"{module} has no place in ORDER[{top!r}]"
        if theirs is None:
            return f"imports lme.{target}, which is not before it in ORDER[{top!r}]"
        if theirs >= mine and inner != own[1]:
            return f"imports lme.{top}.{inner}, which does not come before it"
        return None
    if layer(top) is None:
        if top in known:
            return f"{top} has no place in LAYERS"
        return f"imports the name {top!r} from the package itself"
    if own[0] in ONLY and top not in ONLY[own[0]]:
        return f"imports lme.{top}; {own[0]} may import only {sorted(ONLY[own[0]])}"
    if layer(top) >= layer(own[0]):
        return f"imports lme.{top}, which does not come before it"
    return None


def _allowed(module, places):
    return any(
        place == "*" or module == place or module.startswith(place + ".")
        for place in places
    )


def check_imports(module, source, known):
    """Complaints about the imports of one module, named without "lme."."""
    complaints = []
    for item in imports_of(ast.parse(source), f"lme.{module}"):
        where = f"{module}:{item.line}"
        root, _, rest = item.target.partition(".")
        if root == "lme":
            complaint = _check_inside_package(module, rest or "__init__", known)
            if complaint is None and item.lazy:
                complaint = f"imports {item.target} inside a function"
            # Annotations need names from anywhere; nothing runs.
            if complaint and not item.typing:
                complaints.append(f"{where}: {complaint}")
        elif root in THIRD_PARTY:
            if not _allowed(module, THIRD_PARTY[root]):
                complaints.append(f"{where}: {root} does not belong here")
            if item.lazy and root not in LAZY:
                complaints.append(f"{where}: imports {root} inside a function")
        elif root in STANDARD_LIBRARY:
            complaints.append(f"{where}: {root} runs code")
        elif item.lazy:
            complaints.append(f"{where}: imports {root} inside a function")
        elif root not in _STDLIB:
            complaints.append(f"{where}: {root} has no place in THIRD_PARTY")
    return complaints


def check_calls(module, source):
    """Complaints about calls that run text as code."""
    complaints = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in FORBIDDEN_CALLS:
                complaints.append(f"{module}:{node.lineno}: calls {function.id}")
            # DataFrame.eval and .query run Python too.
            if isinstance(function, ast.Attribute) and function.attr in {
                "eval",
                "query",
            }:
                complaints.append(f"{module}:{node.lineno}: calls .{function.attr}")
    return complaints


def check_shape(module, source, exported=()):
    """Complaints about a module's name and length."""
    complaints = []
    name = module.split(".")[-1]
    if name in {"utils", "util", "helpers", "misc", "common"}:
        complaints.append(f"{module}: say what is in it")
    if name in exported:
        complaints.append(f"{module}: an exported function has the same name")
    if len(source.splitlines()) > MAX_LINES:
        complaints.append(f"{module}: {len(source.splitlines())} lines")
    return complaints


def sources():
    """Module name without "lme." -> text, of the package without its tests."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "tests":
            found[".".join(parts)] = path.read_text("utf-8")
    return found


_STDLIB = set(sys.stdlib_module_names)
SOURCES = sources()
KNOWN = {module.split(".")[0] for module in SOURCES}


@pytest.mark.parametrize("module", SOURCES)
def test_imports(module):
    assert check_imports(module, SOURCES[module], KNOWN) == []


@pytest.mark.parametrize("module", SOURCES)
def test_no_code_from_text(module):
    assert check_calls(module, SOURCES[module]) == []


@pytest.mark.parametrize("module", SOURCES)
def test_shape(module):
    assert check_shape(module, SOURCES[module], _exported()) == []


def _exported():
    tree = ast.parse(SOURCES.get("__init__", ""))
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "lme"
        for alias in node.names
    }


def test_rows_that_name_nothing():
    assert {name for row in LAYERS for name in row} - KNOWN <= PLANNED
    for folder, rows in ORDER.items():
        inside = {m.split(".")[1] for m in SOURCES if m.startswith(folder + ".")}
        assert {name for row in rows for name in row} - inside <= PLANNED


# --- the checker itself: each rule broken once ---------------------------------

BROKEN = [
    ("errors", "import lme.fit", "does not come before"),
    ("engine.lmm", "from lme.fit import Fit", "does not come before"),
    ("engine.lmm", "from ..fit import Fit", "does not come before"),
    ("engine.lmm", "from .. import results", "does not come before"),
    ("fit", "from lme.model import LMM", "does not come before"),
    ("search", "from lme import convergence", "does not come before"),
    ("formula.tokens", "from lme.families import base", "may import only"),
    ("datasets.catalogue", "from lme.formula import design", "may import only"),
    ("datasets.storage", "from lme.datasets.catalogue import load", "not come before"),
    ("datasets.storage", "from lme.datasets import load", "not before it in ORDER"),
    ("datasets.other", "from lme.datasets.storage import x", "no place in ORDER"),
    ("report.tables", "from lme import lmer", "from the package itself"),
    ("__main__", "def f():\n    import lme", "inside a function"),
    ("fit", "import lme", "does not come before"),
    ("engine.blocked", "from lme.engine.choice import choose", "not come before"),
    ("oddity", "from lme.errors import LMEError", "no place in LAYERS"),
    ("fit", "def f():\n    from lme.engine import lmm", "inside a function"),
    ("fit", "def f():\n    import json", "inside a function"),
    ("fit", "def f():\n    import scipy.sparse", "inside a function"),
    ("fit", "f = lambda: __import__('json')", "calls __import__"),
    ("engine.lmm", "import pandas as pd", "pandas does not belong"),
    ("engine.lmm", "from pandas import DataFrame", "pandas does not belong"),
    ("engine.lmm", "import patsy", "patsy does not belong"),
    ("engine.lmm", "import sksparse.cholmod", "sksparse does not belong"),
    ("engine.cholmod2", "import sksparse.cholmod", "sksparse does not belong"),
    ("fit", "import statsmodels.api", "statsmodels does not belong"),
    ("results", "import matplotlib.pyplot", "matplotlib does not belong"),
    ("results", "import requests", "no place in THIRD_PARTY"),
    ("results", "import runpy", "runs code"),
    ("formula.functions", "y = eval('1')", "calls eval"),
    ("formula.functions", "y = frame.eval('a + b')", "calls .eval"),
    ("formula.functions", "def f():\n    exec('1')", "calls exec"),
    ("formula.functions", "compile('1', '', 'eval')", "calls compile"),
    ("engine.utils", "", "say what is in it"),
    ("inference.anova", "", "an exported function has the same name"),
    ("fit", "x = 1\n" * 401, "401 lines"),
]
SOUND = [
    ("fit", "from lme.engine.lmm import criterion\nimport numpy as np"),
    ("engine.cholmod", "from sksparse.cholmod import analyze"),
    ("engine.cholmod", "def f():\n    import sksparse.cholmod"),
    ("report.plots", "def f():\n    import matplotlib.pyplot as plt"),
    ("inference.wald", "from patsy import DesignInfo"),
    ("fit", "if TYPE_CHECKING:\n    from lme.model import LMM"),
    ("__main__", "import lme"),
    ("__init__", "from lme.model import lmer\nfrom lme import datasets"),
    ("datasets.catalogue", "from lme.datasets.storage import decode"),
    ("datasets.__init__", "from lme.datasets.catalogue import load"),
    ("engine.lmm", "re.compile('x')\ndef evaluate(): ..."),
]


def _complaints(module, source):
    known = KNOWN | {"fit", "model", "results", "search"}
    return (
        check_imports(module, source, known)
        + check_calls(module, source)
        + check_shape(module, source, {"anova"})
    )


@pytest.mark.parametrize("module, source, expected", BROKEN)
def test_checker_finds(module, source, expected):
    complaints = _complaints(module, source)
    assert any(expected in complaint for complaint in complaints), complaints


@pytest.mark.parametrize("module, source", SOUND)
def test_checker_accepts(module, source):
    assert _complaints(module, source) == []
