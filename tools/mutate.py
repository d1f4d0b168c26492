"""Mutation testing on a sample: ``mutate.py [MUTANTS [SEED]]``.

Each mutant is one change of the source (a comparison turned, an operator exchanged, a
number moved, a condition negated) in a copy of the package; the tests named for its
module must fail. Survivors are printed with their line: each needs a test, or a reason
why it computes the same.
"""

import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Module -> the tests that should notice.
SAMPLE = {
    "formula/tokens.py": ["test_formula_text"],
    "formula/parser.py": ["test_formula_text"],
    "formula/expand.py": ["test_formula_text", "test_formula_reference"],
    "formula/bars.py": ["test_formula_text", "test_formula_reference"],
    "formula/levels.py": ["test_functions", "test_formula_data"],
    "formula/coding.py": ["test_coding", "test_functions"],
    "formula/arrays.py": ["test_formula_data"],
    "engine/relcov.py": ["test_covariance", "test_criterion"],
    "engine/blocked.py": ["test_kernels", "test_criterion"],
    "engine/lmm.py": ["test_criterion", "test_kernels", "test_known_sigma"],
    "engine/selinv.py": ["test_selinv"],
    "engine/quadrature.py": ["test_quadrature"],
}
TURNED = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
}


def places(tree):
    """Nodes that a mutant may change, with how."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
            found.append((node, "compare"))
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in TURNED:
            if not isinstance(getattr(node, "left", None), ast.JoinedStr):
                found.append((node, "operator"))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            found.append((node, "number"))
        elif isinstance(node, ast.If):
            found.append((node, "condition"))
    return found


def mutant(text, position):
    """The text with one change, the number of its line, and the change in words."""
    tree = ast.parse(text)
    node, how = places(tree)[position]
    before = ast.unparse(node.test if how == "condition" else node)
    if how == "compare":
        node.ops[0] = TURNED[type(node.ops[0])]()
    elif how == "operator":
        node.op = TURNED[type(node.op)]()
    elif how == "number":
        node.value = node.value + 1
    else:
        node.test = ast.UnaryOp(ast.Not(), copy.copy(node.test))
    after = ast.unparse(node.test if how == "condition" else node)
    changed = ast.unparse(ast.fix_missing_locations(tree))
    return changed, node.lineno, f"{before}  ->  {after}"


def survives(folder, module, text):
    """Whether the tests pass with a text in the place of a module."""
    path = folder / "lme" / module
    original = path.read_text()
    path.write_text(text)
    tests = [f"lme/tests/{name}.py" for name in SAMPLE[module]]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=folder,
            env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=180,
        )
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(original)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "lme", folder / "lme")
        shutil.copy(ROOT / "pyproject.toml", folder)
        killed = survivors = 0
        for i in range(count):
            module = list(SAMPLE)[i % len(SAMPLE)]
            text = (folder / "lme" / module).read_text()
            position = chance.randrange(len(places(ast.parse(text))))
            changed, line, words = mutant(text, position)
            if survives(folder, module, changed):
                survivors += 1
                print(f"survives: {module}:{line}: {words}", flush=True)
            else:
                killed += 1
    print(f"{killed} of {killed + survivors} mutants were noticed.")


if __name__ == "__main__":
    main()
