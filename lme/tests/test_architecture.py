"""The import rule and the other rules of the house, read off the source.

Data flow one way: a module may import only what stands before it in LAYERS,
and inside a folder nothing runs in a circle.
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
    ["signatures"],
    ["formula", "families", "covariance", "residual", "datasets"],
    ["engine"],
    ["search", "convergence"],
    ["optimizers", "naming", "fixing"],
    ["wishes"],
    ["preparation", "starting", "relatedness"],
    ["partitions"],
    ["whitened", "optimum"],
    ["fit", "generalized"],
    ["inference"],
    ["report"],
    ["persistence"],
    ["results"],
    ["specification"],
    ["model"],
    ["glmm"],
    ["translation"],
    ["restoration", "migration", "marginal_effects"],
    ["__init__"],
    ["command_line"],
    ["__main__"],
]
PLANNED: set[str] = set()  # named in LAYERS before it has a module
# What a layer may import of the package, where that is less than all before it.
ONLY = {
    **{"datasets": {"errors"}, "formula": {"errors"}},
    **{"covariance": {"errors"}, "residual": {"errors"}},
}

# Landmarks inside a folder, in order: none may depend on a later one, directly or
# through others. Modules that are not named stand anywhere, but never in a circle.
ORDER = {
    "datasets": ["storage", "catalogue"],
    "formula": [
        *["values", "tokens", "syntax", "parser", "expand", "bars", "coding"],
        *["functions", "evaluation", "matrices", "design", "checks"],
    ],
    "engine": [
        *["relcov", "kernel", "selinv", "blocked", "cholmod", "lmm"],
        *["pirls", "laplace", "quadrature"],
    ],
    "inference": [
        *["working", "estimates", "hypotheses.wald", "prediction.simulation"],
        *["bootstrap.resampling", "comparison.likelihood_table"],
    ],
    "report": ["tables", "summary", "plots"],
    "results": ["contract", "mixed", "linear"],
}

# Layers that may hold data frames; the engine sees arrays only.
FRAMES = [
    *["formula", "families", "fit", "inference", "report", "results"],
    *["model", "glmm", "persistence", "restoration", "migration", "command_line"],
    "partitions",
]

# External package -> modules and folders that may import it.
THIRD_PARTY = {
    "numpy": ["*"],
    "scipy": ["*"],
    "pandas": [*FRAMES, "datasets", "marginal_effects"],
    "narwhals": ["formula", "model"],
    "polars": ["formula", "model", "marginal_effects"],
    "marginaleffects": ["marginal_effects"],
    "pyarrow": ["formula", "model", "inference", "partitions"],
    "patsy": ["inference.hypotheses.wald", "results"],
    "sksparse": ["engine.cholmod"],
    "statsmodels": ["families", "report", "results", "specification", "migration"],
    "matplotlib": ["report.plots"],
    "great_tables": ["report"],
    "threadpoolctl": ["engine", "fit"],
    "tqdm": ["inference"],
    "joblib": ["inference"],
    "dask": ["formula", "engine", "inference", "fit", "partitions"],
}
# External packages that may be imported inside a function: optional or slow ones.
LAZY = {
    *["matplotlib", "dask", "sksparse", "narwhals", "polars", "pyarrow", "tqdm"],
    *["great_tables", "joblib", "marginaleffects"],
}
# Our own module that is loaded with the first figure, by whoever draws one.
PLOTTING = "lme.report.plots"
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


def _module_of(target, known):
    """The module, or the folder with modules, that a dotted name stands in."""
    parts = target.split(".")
    for end in range(len(parts), 1, -1):
        name = ".".join(parts[:end])
        if name in known or any(other.startswith(name + ".") for other in known):
            return name
    return None


def _check_inside_package(module, target, known):
    """Complaint about importing `target` in `module`, all names without "lme."."""
    parts, own = target.split("."), module.split(".")
    top = parts[0]
    if layer(own[0]) is None:
        return f"{own[0]} has no place in LAYERS"
    if top == own[0]:
        inside = len(own) > 1 and own[1] != "__init__"
        if inside and _module_of(target, known) is None:
            return f"imports from the folder {top} that it is in"
        return None
    if layer(top) is None:
        if any(module.split(".")[0] == top for module in known):
            return f"{top} has no place in LAYERS"
        return f"imports the name {top!r} from the package itself"
    if own[0] in ONLY and top not in ONLY[own[0]]:
        return f"imports lme.{top}; {own[0]} may import only {sorted(ONLY[own[0]])}"
    if layer(top) >= layer(own[0]):
        return f"imports lme.{top}, which does not come before it"
    return None


def inner_graph(folder, texts):
    """Module of the folder -> modules of the same folder that it imports."""
    prefix = f"lme.{folder}."
    names = {m.removeprefix(f"{folder}.") for m in texts if m.startswith(f"{folder}.")}
    names = {name for name in names if not name.endswith("__init__")}
    graph = {}
    for name in names:
        found = imports_of(ast.parse(texts[f"{folder}.{name}"]), f"lme.{folder}.{name}")
        inner = set()
        for item in found:
            if item.typing or not item.target.startswith(prefix):
                continue
            parts = item.target.removeprefix(prefix).split(".")
            ends = range(len(parts), 0, -1)
            tried = (".".join(parts[:end]) for end in ends)
            inner |= set([part for part in tried if part in names][:1])
        graph[name] = inner - {name}
    return graph


def _reached(graph, start):
    seen, waiting = set(), [start]
    while waiting:
        for name in graph[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def check_order(graph, landmarks):
    """Complaints about circles and about landmarks that depend on later ones."""
    complaints = []
    for name in graph:
        reached = _reached(graph, name)
        if name in reached:
            complaints.append(f"{name} depends on itself, through {sorted(reached)}")
        if name in landmarks:
            later = landmarks[landmarks.index(name) + 1 :]
            complaints += [
                f"{name} depends on {other}, which does not come before it"
                for other in sorted(reached & set(later))
            ]
    return complaints


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
            if item.lazy and (item.target + ".").startswith(PLOTTING + "."):
                continue
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
    assert check_imports(module, SOURCES[module], SOURCES) == []


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


@pytest.mark.parametrize("folder", ORDER)
def test_order_inside(folder):
    assert check_order(inner_graph(folder, SOURCES), ORDER[folder]) == []


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
    ("datasets.storage", "from lme.datasets import load", "from the folder datasets"),
    ("report.tables", "from lme import lmer", "from the package itself"),
    ("__main__", "def f():\n    import lme", "inside a function"),
    ("fit", "import lme", "does not come before"),
    ("oddity", "from lme.errors import LMEError", "no place in LAYERS"),
    ("fit", "def f():\n    from lme.engine import lmm", "inside a function"),
    ("inference.bootstrap", "from lme.report.plots import draw", "does not come"),
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
    ("inference.bootstrap", "def f():\n    from lme.report.plots import draw"),
    ("inference.hypotheses.wald", "from patsy import DesignInfo"),
    ("fit", "if TYPE_CHECKING:\n    from lme.model import LMM"),
    ("__main__", "import lme"),
    ("__init__", "from lme.model import lmer\nfrom lme import datasets"),
    ("datasets.catalogue", "from lme.datasets.storage import decode"),
    ("datasets.__init__", "from lme.datasets.catalogue import load"),
    ("engine.lmm", "re.compile('x')\ndef evaluate(): ..."),
]


def _complaints(module, source):
    return (
        check_imports(module, source, SOURCES)
        + check_calls(module, source)
        + check_shape(module, source, {"anova"})
    )


@pytest.mark.parametrize("module, source, expected", BROKEN)
def test_checker_finds(module, source, expected):
    complaints = _complaints(module, source)
    assert any(expected in complaint for complaint in complaints), complaints


def test_checker_finds_a_wrong_order():
    texts = {
        "engine.relcov": "from lme.engine.helper import x",
        "engine.helper": "from lme.engine import kernel",
        "engine.kernel": "",
        "engine.lmm": "from lme.engine.kernel import y",
    }
    graph = inner_graph("engine", texts)
    assert graph["relcov"] == {"helper"} and graph["helper"] == {"kernel"}
    assert check_order(graph, ["kernel", "relcov", "lmm"]) == []
    wrong = check_order(graph, ["relcov", "kernel", "lmm"])
    assert wrong == ["relcov depends on kernel, which does not come before it"]
    texts["engine.kernel"] = "from lme.engine.relcov import z"
    circle = check_order(inner_graph("engine", texts), [])
    assert len(circle) == 3 and "kernel depends on itself" in " ".join(circle)


@pytest.mark.parametrize("module, source", SOUND)
def test_checker_accepts(module, source):
    assert _complaints(module, source) == []
