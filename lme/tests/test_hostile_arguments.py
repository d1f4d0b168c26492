"""Every public method of a result with wrong arguments: our errors, no others.

Methods that draw figures are left out: Matplotlib's own options go through them.
"""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest

import lme
from lme.errors import DataTypeError, OptionError
from lme.results import GLMMResults, LMMResults
from lme.results.contract import Contract
from lme.signatures import checked


class Odd:
    """Cannot be compared, hashed or counted."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("compared")


VALUES = {
    **{"None": None, "True": True, "3": 3, "-1": -1, "1.5": 1.5, "nan": np.nan},
    **{"inf": np.inf, "complex": 1j, "empty": "", "word": "nonsense", "bytes": b"x"},
    **{"list": [], "mixed": ["a", None], "dict": {"a": 1}, "tuple": (), "set": {1, 2}},
    **{"array": np.full((2, 2), np.nan), "rows": np.zeros((0, 2)), "object": Odd()},
    **{"frame": pd.DataFrame({"a": [1, 2]}), "series": pd.Series([1.0]), "call": len},
    **{"NaT": pd.NaT, "half a letter": "\ud800", "long": "a" * 5000},
}
# What a required argument is when another one is wrong.
GIVEN = {
    **{"L": [1, 0], "r_matrix": "Days = 0", "specs": "Days", "var": "Days"},
    **{"name": "theta", "term_name": "Days", "y": np.arange(180.0)},
}
NOT_CALLED = {"remove_data", "initialize", "save", "save_fit", "normalized_cov_params"}
# Long computations: one wrong argument at a time would still do all their work.
SLOW = {"bootstrap", "get_influence", "profile", "caic", "diagnose", "update", "refit"}


def methods(kind):
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        if name.startswith(("_", "plot_")) or not inspect.isfunction(member):
            continue
        if name not in NOT_CALLED | SLOW:
            yield name


@pytest.fixture(scope="module")
def results():
    sleep, herds = lme.datasets.load("sleepstudy"), lme.datasets.load("cbpp")
    linear = lme.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    coins = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    general = lme.glmer(coins, herds, family="binomial").fit(nAGQ=0)
    return {"linear": linear, "generalized": general}


@pytest.mark.parametrize(
    "kind, name",
    [
        (kind, name)
        for kind, results in (("linear", LMMResults), ("generalized", GLMMResults))
        for name in methods(results)
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments(results, kind, name):
    method = getattr(results[kind], name)
    parameters = inspect.signature(getattr(results[kind]._results, name)).parameters
    needed = [key for key, p in parameters.items() if p.default is p.empty]
    plain = [k for k, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, 2)]
    before = results[kind].params.copy()
    for wrong in plain:
        for value in VALUES.values():
            given = {key: GIVEN[key] for key in needed if key in GIVEN}
            if name == "confint":
                given["method"] = "wald"
            try:
                method(**given | {wrong: value})
            except lme.LMEError as error:
                assert 15 < len(str(error)) < 4000
    assert results[kind].params.equals(before)


@pytest.mark.parametrize("name", sorted(SLOW - {"refit"}))
def test_wrong_arguments_of_long_computations(results, name):
    for res in results.values():
        for key, parameter in inspect.signature(
            getattr(type(res._results), name)
        ).parameters.items():
            texts = str(parameter.annotation).split(" | ")
            if "str" in texts:
                with pytest.raises(OptionError, match=key), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    getattr(res, name)(**{key: [1.0]})


def test_every_method_has_a_door():
    """Methods with plain annotations are wrapped, those of later classes too."""

    class More(Contract):
        def method(self, word: "str", count: "int | None" = None) -> "str":
            """First line."""
            return word * (count or 1)

    more = object.__new__(More)
    assert more.method("a", 2) == "aa"
    assert more.method.__doc__ == "First line."
    assert list(inspect.signature(More.method).parameters) == ["self", "word", "count"]
    with pytest.raises(OptionError, match="word=3 is of type int"):
        more.method(3)
    with pytest.raises(DataTypeError, match="a whole number or None"):
        more.method("a", count=[])


def test_functions_without_plain_annotations_stay_as_they_are():
    def plain(x, *rest: "str", **more: "int"):
        return x

    assert checked(plain) is plain


def test_types_that_pass():
    @checked
    def take(
        flag: "bool" = True,
        names: "Sequence[str] | None" = None,  # noqa: F821
        table: "Bootstrap | None" = None,  # noqa: F821
        options: "Mapping[str, Any] | None" = None,  # noqa: F821
        number: "float | None" = None,
    ):
        return "taken"

    for given in (
        {"flag": np.bool_(False)},
        {"flag": 1},
        {"names": "one"},
        {"names": ["a", "b"]},
        {"names": pd.Index(["a"])},
        {"options": {"a": 1}},
        {"number": np.float32(1)},
        # A class that the module does not have cannot be checked.
        {"table": 3},
    ):
        assert take(**given) == "taken"
    for given in (
        {"flag": 2},
        {"flag": None},
        {"names": {"a"}},
        {"names": [["a"]]},
        {"names": b"a"},
        {"options": []},
        {"number": True},
        {"number": "1"},
    ):
        with pytest.raises(OptionError, match=next(iter(given))):
            take(**given)


def test_messages_are_short():
    error = OptionError("x" * 10_000, "Expected less.")
    assert len(str(error)) < 1000
    assert str(error).endswith("Expected less.")


@pytest.mark.parametrize("value", [[], [[1.0]], np.full((2, 2), np.nan), "a", 3, Odd()])
@pytest.mark.parametrize("option", ["cov_p", "invcov"])
def test_covariances_of_a_user(results, value, option):
    with pytest.raises(OptionError, match=option):
        results["linear"].wald_test(np.eye(2), **{option: value})


def test_what_is_not_a_fit():
    for wrong in (3, None, "res", []):
        with pytest.raises(DataTypeError, match="result of a fit"):
            lme.allfit(wrong)


def test_options_of_fit_that_are_not_there():
    herds = lme.datasets.load("cbpp")
    model = lme.glmer("incidence ~ period + (1 | herd)", herds, family="poisson")
    with pytest.raises(OptionError, match="leave kernel= out"):
        model.fit(kernel="dense")
    with pytest.raises(OptionError, match="Did you mean 'verbose'"):
        model.fit(verbos=1)
