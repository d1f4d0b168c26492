"""Mutation testing on a sample: ``mutate.py [MUTANTS [SEED]] [--only PREFIX]``.

Each mutant is one change of the source (a comparison turned, an operator exchanged, a
number moved, a condition negated) in a copy of the last commit; the tests named for its
module must fail. Survivors are printed with their line: each needs a test, or a reason
why it computes the same. ``--only engine/lmm.py --line 40`` tries every mutant of a
line again.
"""

import argparse
import ast
import copy
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Module -> the tests that should notice.
SAMPLE = {
    "formula/tokens.py": ["test_formula_text"],
    "formula/parser.py": ["test_formula_text"],
    "formula/syntax.py": ["test_formula_text"],
    "formula/calls.py": ["test_formula_text", "test_functions"],
    "formula/parts.py": ["test_formula_text", "test_formula_reference"],
    "formula/expand.py": ["test_formula_text", "test_formula_reference"],
    "formula/bars.py": ["test_formula_text", "test_formula_reference"],
    "formula/revision.py": ["test_formula_text", "test_model"],
    "formula/levels.py": ["test_functions", "test_formula_data"],
    "formula/coding.py": ["test_coding", "test_functions", "test_formula_data"],
    "formula/polynomials.py": ["test_coding", "test_functions"],
    "formula/arrays.py": ["test_formula_data", "test_model"],
    "formula/checks.py": ["test_formula_data", "test_model"],
    "formula/records.py": ["test_formula_data", "test_covariance"],
    "formula/selection.py": ["test_formula_data", "test_prediction"],
    "formula/recipe.py": ["test_formula_data", "test_prediction_intervals"],
    "formula/replacement.py": ["test_formula_data", "test_glmm_results"],
    "formula/residual.py": ["test_residual_structures"],
    "formula/groups.py": ["test_formula_data", "test_formula_reference"],
    "formula/matrices.py": ["test_formula_data", "test_formula_reference"],
    "formula/predictors.py": ["test_formula_data", "test_prediction"],
    "formula/response.py": ["test_formula_data", "test_glmm_model"],
    **{
        f"formula/{name}.py": ["test_functions", "test_formula_data"]
        for name in (
            *("arguments", "arithmetic", "elementwise", "evaluation", "factors"),
            *("functions", "indicators", "intervals", "splines", "transforms"),
            *("values", "vectors"),
        )
    },
    "engine/relcov.py": ["test_covariance", "test_criterion", "test_kernels"],
    "engine/bases.py": ["test_covariance", "test_criterion", "test_search"],
    "engine/rows.py": ["test_criterion", "test_known_sigma", "test_laplace"],
    "engine/crossproducts.py": ["test_kernels", "test_criterion", "test_influence"],
    "engine/blocked.py": ["test_kernels", "test_selinv", "test_criterion"],
    "engine/stages.py": ["test_kernels", "test_selinv"],
    "engine/coupling.py": ["test_kernels", "test_selinv"],
    "engine/dense.py": ["test_kernels", "test_selinv"],
    "engine/rotation.py": ["test_known_covariance"],
    "engine/cholmod.py": ["test_kernels", "test_cholmod", "test_known_covariance"],
    "engine/system.py": ["test_kernels", "test_cholmod", "test_known_covariance"],
    "engine/elimination.py": ["test_selinv"],
    "engine/selinv.py": ["test_selinv"],
    "engine/choice.py": ["test_choice", "test_kernels"],
    "engine/decompositions.py": ["test_criterion", "test_model", "test_nesting"],
    "engine/lmm.py": ["test_criterion", "test_kernels", "test_known_sigma"],
    "engine/information.py": ["test_criterion", "test_search", "test_profiling"],
    "engine/moments.py": ["test_moments", "test_search"],
    "engine/deviance.py": ["test_profiling"],
    "engine/natural.py": ["test_natural", "test_profiling"],
    "engine/restriction.py": ["test_profiling"],
    "engine/pivoting.py": ["test_optimum"],
    "engine/downdating.py": ["test_influence"],
    "engine/structured.py": ["test_residual_structures"],
    "engine/pirls.py": ["test_laplace"],
    "engine/laplace.py": ["test_laplace", "test_quadrature"],
    "engine/quadrature.py": ["test_quadrature", "test_laplace"],
    "engine/accumulation.py": ["test_accumulation", "test_large_data"],
    "engine/summed.py": ["test_large_data"],
    "engine/pieces.py": ["test_large_data_generalized"],
    "engine/batched.py": ["test_batched"],
    "engine/batched_algebra.py": ["test_batched"],
    "engine/batched_dense.py": ["test_batched"],
    "engine/batched_levels.py": ["test_batched"],
    "engine/batched_parameters.py": ["test_batched", "test_bootstrap"],
    "engine/batched_search.py": ["test_batched"],
    "engine/warm.py": ["test_batched"],
    "engine/threads.py": ["test_threads"],
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


def passes(folder, tests, timeout=None):
    """Whether tests pass in a copy of the package."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, *(f"lme/tests/{name}.py" for name in tests)],
            cwd=folder,
            env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def survives(folder, module, text):
    """Whether the tests of a module pass with a text in its place."""
    path = folder / "lme" / module
    original = path.read_text()
    path.write_text(text)
    try:
        return passes(folder, SAMPLE[module], timeout=180)
    finally:
        path.write_text(original)


def last_commit(folder):
    """Copy the package as committed; a working tree may be half edited."""
    wanted = ["git", "archive", "HEAD", "lme", "pyproject.toml"]
    files = subprocess.run(wanted, cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=files, check=True)


def draws(folder, modules, options):
    """Pairs of a module and the position of a mutant, the modules in turn."""
    chance = random.Random(options.seed)
    every = {}
    for module in modules:
        nodes = places(ast.parse((folder / "lme" / module).read_text()))
        every[module] = [
            i
            for i, (node, _) in enumerate(nodes)
            if options.line in (None, node.lineno)
        ]
        chance.shuffle(every[module])
    if options.line is not None:
        return [(module, i) for module in modules for i in every[module]]
    turns = max(map(len, every.values()), default=0)
    found = [(m, k) for k in range(turns) for m in modules if k < len(every[m])]
    return [(m, every[m][k]) for m, k in found[: options.mutants]]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("mutants", nargs="?", type=int, default=60)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    parser.add_argument("--only", default="", help="start of the modules' names")
    parser.add_argument("--line", type=int, help="every mutant of this line")
    return parser.parse_args()


def main():
    options = arguments()
    modules = [name for name in SAMPLE if name.startswith(options.only)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        last_commit(folder)
        chosen = draws(folder, modules, options)
        if not chosen:
            sys.exit("There is nothing to change.")
        tests = {test: None for module, _ in chosen for test in SAMPLE[module]}
        if not passes(folder, tests):
            sys.exit("The tests fail without any mutant.")
        killed = survivors = 0
        for module, position in chosen:
            text = (folder / "lme" / module).read_text()
            changed, line, words = mutant(text, position)
            if survives(folder, module, changed):
                survivors += 1
                print(f"survives: {module}:{line}: {words}", flush=True)
            else:
                killed += 1
                print(f"killed: {module}:{line}: {words}", flush=True)
    print(f"{killed} of {killed + survivors} mutants were noticed.")


if __name__ == "__main__":
    main()
