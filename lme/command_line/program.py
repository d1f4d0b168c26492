"""``python -m lme``: fit a mixed model from the shell, and a demonstration."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

import lme
from lme.command_line.tables import categories, read_table
from lme.errors import DataError, LMEError, LMEWarning, OptionError

FAILED = 1
MISUSED = 2
FORMULA = "Reaction ~ Days + (Days | Subject)"
EPILOG = """\
examples:
  python -m lme
      a demonstration on a data set of the package
  python -m lme "Reaction ~ Days + (Days | Subject)" sleepstudy
      a data set of the package by its name
  python -m lme "score ~ hours + (1 | school/class)" pupils.csv --ml
      a table in a file: .csv, .tsv, .parquet, also .gz
  python -m lme "cbind(incidence, size - incidence) ~ period + (1 | herd)" cbpp \\
      --family binomial --nAGQ 9
  python -m lme "y ~ a * b + (1 | g)" data.csv --anova ". ~ . - a:b"
      compare two models; a dot stands for the first one's terms
  python -m lme "y ~ x + (1 | g)" data.csv --json fit.json --plot fit.png
      estimates for a program, and figures of the residuals
"""
NEXT = """\
What to try next, in Python (.venv/bin/python):

    import lme
    sleep = lme.datasets.load("sleepstudy")
    res = lme.lmer("{formula}", sleep).fit()
    res.ranef()["Subject"]        # how each person differs from the average
    res.VarCorr()                 # variances, standard deviations, correlations
    res.conf_int()                # intervals for the fixed effects
    ml = lme.lmer("{formula}", sleep).fit(reml=False)
    ml.aic, ml.bic, ml.llf        # maximum likelihood, to compare fixed effects

    lme.datasets.describe("sleepstudy")
    lme.datasets.list()           # {names}

In the shell: python -m lme --help
"""


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments of the command line say.

    Parameters
    ----------
    arguments : sequence of str
        Without the name of the program; none at all asks for the demonstration.

    Returns
    -------
    int
        0, or what the program exits with: 1 for models and data that cannot be used,
        2 for wrong arguments.
    """
    if not arguments:
        return demonstrate()
    options = _parser().parse_args(list(arguments))
    try:
        with _told():
            _fit_and_report(options)
    except BrokenPipeError:
        # The reader of our output, such as head, has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except LMEError as error:
        _say(f"error: {error}", sys.stderr)
        return FAILED
    except MemoryError:
        _say("error: The model does not fit into memory.", sys.stderr)
        return FAILED
    return 0


def demonstrate() -> int:
    """The same command on the sleepstudy data, with what to try next."""
    start = time.perf_counter()
    _say(f'$ python -m lme "{FORMULA}" sleepstudy\n')
    status = run([FORMULA, "sleepstudy"])
    seconds = time.perf_counter() - start
    _say(f"\n({1000 * seconds:.0f} ms; the first fit of a session is slower)\n")
    names = ", ".join(lme.datasets.list()[:4]) + ", ..."
    _say(NEXT.format(formula=FORMULA, names=names))
    return status


def _say(text: str, stream: Any = None) -> None:
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A terminal that lacks a letter shows a substitute instead of stopping us.
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")


@contextmanager
def _told() -> Iterator[None]:
    """Show our warnings as lines on the error stream, each once."""
    shown: set[str] = set()

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        text = str(message)
        if issubclass(category, LMEWarning) and text not in shown:
            shown.add(text)
            _say(f"warning: {text}", sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", LMEWarning)
        warnings.showwarning = show
        yield


class _Parser(argparse.ArgumentParser):
    """Errors in our words, with status 2."""

    def error(self, message: str) -> NoReturn:
        _say(f"error: {message}\nSee python -m lme --help.", sys.stderr)
        raise SystemExit(MISUSED)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m lme",
        description="Fit a mixed-effects model in lme4's notation; print its summary.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("formula", metavar="FORMULA", help='such as "y ~ x + (x | g)"')
    add("data", metavar="DATA", help="a file, or the name of a data set of the package")
    add("--family", help="response distribution: binomial, poisson, gamma, ...")
    add("--link", help="link function in place of the family's own")
    add("--weights", help="column or expression with prior weights")
    add("--offset", help="column or expression with a known part of the predictor")
    add("--subset", help='rows to use, such as "age > 18"')
    add(
        "--factor",
        action="append",
        default=[],
        metavar="COLUMN",
        help="read a column of numbers as categories; may be repeated",
    )
    criterion = parser.add_mutually_exclusive_group()
    criterion.add_argument(
        "--REML",
        dest="reml",
        action="store_true",
        default=None,
        help="restricted likelihood, the default of linear models",
    )
    criterion.add_argument(
        "--ml", "--ML", dest="reml", action="store_false", help="maximum likelihood"
    )
    add("--nAGQ", type=int, metavar="K", help="nodes of the quadrature; 1 is Laplace")
    add("--ddf", help="degrees of freedom: satterthwaite, kenward-roger, ..., or z")
    add("--level", type=float, default=0.95, help="coverage of intervals (0.95)")
    add(
        "--anova",
        action="append",
        default=[],
        metavar="FORMULA2",
        help="compare with a second model; may be repeated",
    )
    add("--plot", metavar="FILE", help="figures of the residuals, as .png, .pdf, .svg")
    add("--json", metavar="FILE", help="estimates as JSON; - for the output instead")
    add("--save", metavar="FILE", help="the fit, for lme.restore_fit")
    add("--version", action="version", version=f"lme {lme.__version__}")
    return parser


# --- model --------------------------------------------------------------------------


def _fit_and_report(options: argparse.Namespace) -> None:
    frame = categories(read_table(options.data), options.factor)
    result = _fit(options, frame)
    shown: dict[str, Any] = {"alpha": 1.0 - _level(options.level)}
    if options.ddf is not None:
        shown["ddf"] = options.ddf
    text = [str(result.summary(**shown))]
    comparison = None
    if options.anova:
        others = [result.update(formula) for formula in options.anova]
        names = [f"model{i}" for i in range(1, len(others) + 2)]
        comparison = lme.anova(result, *others, names=names)
        text.append(str(comparison))
    if options.json != "-":
        _say("\n\n".join(text))
    if options.json is not None:
        _write_json(options, result, comparison)
    if options.save is not None:
        result.save_fit(options.save, overwrite=True)
    if options.plot is not None:
        _plot(options.plot, result)


def _level(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise OptionError(
            f"--level {level:g} is not between 0 and 1.",
            "It is the coverage of intervals, such as 0.95.",
        )
    return level


def _fit(options: argparse.Namespace, frame: pd.DataFrame) -> Any:
    arguments = {
        name: getattr(options, name)
        for name in ("weights", "offset", "subset")
        if getattr(options, name) is not None
    }
    if options.family is None:
        for name in ("link", "nAGQ"):
            if getattr(options, name) is not None:
                raise OptionError(
                    f"--{name} goes with --family.",
                    "Without a family the model is linear.",
                )
        model = lme.lmer(options.formula, frame, **arguments)
        return model.fit() if options.reml is None else model.fit(reml=options.reml)
    if options.reml:
        raise OptionError(
            "--REML is for linear models.", "A family is fitted by maximum likelihood."
        )
    generalized: Any = lme.glmer(
        options.formula, frame, family=options.family, link=options.link, **arguments
    )
    if options.nAGQ is not None and isinstance(generalized, lme.GLMM):
        return generalized.fit(nAGQ=options.nAGQ)
    return generalized.fit()


# --- output -------------------------------------------------------------------------


def _write_json(options: argparse.Namespace, result: Any, comparison: Any) -> None:
    """Estimates for a program: rows of `tidy`, `glance`, and the comparison."""
    tidy = {"conf_int": True, "conf_level": options.level, "ddf": options.ddf}
    content: dict[str, Any] = {
        "lme": lme.__version__,
        "formula": options.formula,
        "data": options.data,
        "message": result.convergence.message,
        "warnings": [str(warning) for warning in result.warnings],
        "fit": _records(result.glance())[0],
        "estimates": _records(result.tidy(**tidy)),
    }
    if comparison is not None:
        frame = comparison.to_frame()
        content["anova"] = _records(frame.rename_axis("model").reset_index())
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    if options.json == "-":
        _say(text)
        return
    try:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unwritable(options.json, error) from None


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    found = json.loads(frame.to_json(orient="records", double_precision=15))
    return [{str(key): value for key, value in row.items()} for row in found]


def _unwritable(name: str, error: Exception) -> DataError:
    reason = str(getattr(error, "strerror", None) or error).lower()
    return DataError(
        f"{name!r} cannot be written: {reason}.",
        "Expected a file in a folder that is there and may be written to.",
    )


def _plot(name: str, result: Any) -> None:
    try:
        drawn = result.plot_diagnostics()
        getattr(drawn, "figure", drawn).savefig(name)
    except (OSError, ValueError) as error:
        if isinstance(error, LMEError):
            raise
        raise _unwritable(name, error) from None
