"""Fits stored as JSON: the same again, and refused where anything is different."""

import copy
import json
import os
import warnings
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import DataError, DataTypeError, FitError, LMEError, OptionError
from lme.persistence import document, fingerprints
from lme.restoration import restore_fit
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def ticks():
    frame = lme.datasets.load("grouseticks")
    return frame.assign(height=frame["HEIGHT"] - frame["HEIGHT"].mean())


def weighted():
    frame = data("sleepstudy").assign(w=lambda d: 1.0 + d["Days"])
    frame.loc[7, "Reaction"] = np.nan
    options = {"weights": "w", "offset": "0.1 * Days", "subset": "Days > 0"}
    return lme.lmer(
        "Reaction ~ poly(Days, 2) + (Days || Subject)",
        frame,
        contrasts=None,
        na_action="exclude",
        **options,
    ).fit(control={"max_evaluations": 80})


def arrays():
    sleep = data("sleepstudy")
    X = np.column_stack([np.ones(180), sleep["Days"]])
    return lme.LMM(sleep["Reaction"], X, groups=sleep["Subject"], exog_re=X).fit()


def contraception(**options):
    frame = lme.datasets.load("Contraception")
    formula = "use ~ age + urban + (1 | district)"
    fit = {key: options.pop(key) for key in ("nAGQ", "cov_type") if key in options}
    return lme.glmer(formula, frame, family="binomial", **options).fit(**fit)


FITS = {
    "reml": lambda: lme.lmer(SLEEP, data("sleepstudy")).fit(),
    "ml": lambda: lme.lmer(SLEEP, data("sleepstudy")).fit(reml=False),
    "singular": lambda: lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff2")).fit(),
    "known sigma": lambda: lme.lmer(SLEEP, data("sleepstudy"), sigma=25.0).fit(),
    "structure": lambda: lme.lmer(
        "Reaction ~ Days + cs(Days | Subject)", data("sleepstudy")
    ).fit(),
    "weighted": weighted,
    "held": lambda: lme.lmer(SLEEP, data("sleepstudy")).fit(
        fix={"theta": {"Subject.Days": 0.2}}
    ),
    "arrays": arrays,
    "binomial": lambda: lme.glmer(
        CBPP, lme.datasets.load("cbpp"), family="binomial"
    ).fit(),
    "quadrature": lambda: contraception(nAGQ=5),
    "nAGQ=0, rx": lambda: contraception(nAGQ=0, cov_type="rx", link="probit"),
    "negative binomial": lambda: lme.glmer(
        "TICKS ~ YEAR + height + (1 | BROOD)", ticks(), family="negative_binomial"
    ).fit(),
    "known theta": lambda: lme.glmer(
        "TICKS ~ YEAR + (1 | BROOD)",
        ticks(),
        family=lme.families.NegativeBinomial(2.5),
    ).fit(),
    "gamma": lambda: lme.glmer(
        "Reaction ~ Days + (1 | Subject)",
        data("sleepstudy"),
        family="gamma",
        link="log",
    ).fit(),
}


def close(actual, expected):
    assert_allclose(
        np.asarray(actual, float), np.asarray(expected, float), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", FITS)
def test_restored_is_the_same(name, tmp_path):
    res = FITS[name]()
    path = tmp_path / "fit.json"
    res.save_fit(path)
    if name == "arrays":
        again = restore_fit(path, model=res.model)
    else:
        again = restore_fit(str(path), res.model.data.frame)
    assert type(again) is type(res)
    assert again.summary().as_text() == res.summary().as_text()
    for part in ("params", "bse", "theta", "sigma", "objective", "llf", "aic", "trace"):
        close(getattr(again, part), getattr(res, part))
    for group, frame in res.ranef().items():
        close(again.ranef()[group], frame)
    close(again.predict(), res.predict())
    close(again.resid, res.resid)
    assert again.converged == res.converged
    assert [str(w) for w in again.warnings] == [str(w) for w in res.warnings]
    if name != "arrays":
        new = res.model.data.frame.dropna().head(3)
        close(again.predict(new), res.predict(new))
        assert again.update().objective == pytest.approx(res.objective, abs=1e-6)


def test_nothing_is_searched(tmp_path, monkeypatch):
    res = FITS["reml"]()
    res.save_fit(tmp_path / "fit.json")
    monkeypatch.setattr("lme.search.newton_step", None)
    monkeypatch.setattr("lme.engine.lmm.Criterion.curvature", None)
    again = restore_fit(tmp_path / "fit.json", data("sleepstudy"))
    close(again.params, res.params)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "fit.json"
    lme.lmer(SLEEP, data("sleepstudy")).fit().save_fit(path)
    return path


def test_the_file_holds_no_data(stored):
    text = stored.read_text()
    assert "249.56" not in text and len(text) < 5000
    content = json.loads(text)
    assert content["formula"] == SLEEP and "lme" in content["versions"]


# --- data that are recognised, and data that are not --------------------------------


def test_kinds_of_frames_are_the_same(stored):
    sleep = data("sleepstudy")
    polars = pytest.importorskip("polars")
    expected = restore_fit(stored, sleep).params
    for other in (
        sleep.astype({"Subject": str}),
        sleep.astype({"Subject": int, "Days": "int8"}),
        sleep.set_index(np.arange(180) + 7),
        sleep[["Subject", "Days", "Reaction"]].assign(extra=1),
        sleep.to_dict("list"),
        polars.DataFrame({name: sleep[name].tolist() for name in sleep}),
    ):
        close(restore_fit(stored, other).params, expected)


def test_a_table_written_and_read_is_the_same(stored, tmp_path):
    data("sleepstudy").to_csv(tmp_path / "sleep.csv", index=False)
    again = restore_fit(stored, pd.read_csv(tmp_path / "sleep.csv"))
    assert again.nobs == 180


def changed(**columns):
    return data("sleepstudy").assign(**columns)


def with_hole():
    frame = data("sleepstudy")
    frame.loc[3, "Days"] = np.nan
    return frame


@pytest.mark.parametrize(
    "frame, expected",
    [
        (lambda: data("sleepstudy").head(179), "179 rows, those of the stored fit had"),
        (lambda: changed(Days=lambda d: d["Days"] + 1), "'Days'.*its mean is 5.5"),
        (
            lambda: changed(Days=lambda d: d["Days"].to_numpy()[::-1]),
            "'Days'.*values or their order",
        ),
        (
            lambda: changed(Subject=lambda d: d["Subject"].astype(str) + "x"),
            "'Subject'",
        ),
        (
            lambda: changed(
                Subject=lambda d: d["Subject"].astype(str).replace("308", "309")
            ),
            "'Subject'.*17 levels, then 18",
        ),
        (with_hole, "'Days'.*1 missing values, then 0"),
        (lambda: data("sleepstudy").drop(columns="Days"), "no column 'Days'"),
        (lambda: data("sleepstudy").rename(columns={"Days": "days"}), "Days"),
        (lambda: changed(Days="a"), "'Days'"),
        (lambda: 5, "type int"),
    ],
)
def test_other_data_are_refused(stored, frame, expected):
    with pytest.raises(LMEError, match=expected):
        restore_fit(stored, frame())


def test_other_models_are_refused(stored):
    sleep = data("sleepstudy")
    with pytest.raises(DataError, match="The formula of the model is"):
        restore_fit(stored, model=lme.lmer("Reaction ~ Days + (1 | Subject)", sleep))
    with pytest.raises(DataError, match="The formula of the model is"):
        restore_fit(stored, model=arrays().model)
    with pytest.raises(DataError, match="of the kind 'glmm'"):
        restore_fit(stored, model=lme.glmer(SLEEP, sleep, family="gamma"))
    with pytest.raises(DataTypeError, match="LMM or a GLMM"):
        restore_fit(stored, model=sleep)
    light = lme.lmer(SLEEP, sleep).fit().without_data().model
    with pytest.raises(DataError, match=r"does not hold the data.*restore_fit\(path"):
        restore_fit(stored, model=light)
    with pytest.raises(OptionError, match="needs the data"):
        restore_fit(stored)
    with pytest.raises(OptionError, match="needs the data"):
        restore_fit(stored, sleep, model=lme.lmer(SLEEP, sleep))
    for atol in ("a", -1.0, np.inf, None):
        with pytest.raises(OptionError, match="tolerance"):
            restore_fit(stored, sleep, atol=atol)


def test_another_order_of_levels_is_refused(tmp_path):
    cake = lme.datasets.load("cake")
    lme.lmer("angle ~ recipe + (1 | replicate)", cake).fit().save_fit(tmp_path / "f")
    turned = cake.assign(recipe=cake["recipe"].cat.reorder_categories(list("CBA")))
    with pytest.raises(DataError, match=r"columns \(Intercept\), recipeB, recipeA"):
        restore_fit(tmp_path / "f", turned)


def test_other_families_are_refused(tmp_path):
    cbpp = lme.datasets.load("cbpp")
    lme.glmer(CBPP, cbpp, family="binomial").fit().save_fit(tmp_path / "f")
    probit = lme.glmer(CBPP, cbpp, family="binomial", link="probit")
    with pytest.raises(DataError, match=r"binomial\(probit\)"):
        restore_fit(tmp_path / "f", model=probit)


def test_arguments_that_are_objects(tmp_path):
    sleep = data("sleepstudy")
    weights = np.arange(180.0) + 1
    model = lme.lmer(SLEEP, sleep, weights=weights)
    res = model.fit()
    res.save_fit(tmp_path / "f")
    with pytest.raises(OptionError, match="weights= as objects"):
        restore_fit(tmp_path / "f", sleep)
    close(restore_fit(tmp_path / "f", model=model).params, res.params)
    other = lme.lmer(SLEEP, sleep, weights=weights[::-1].copy())
    with pytest.raises(DataError, match="does not match the stored objective"):
        restore_fit(tmp_path / "f", model=other)
    formula = "Reaction ~ f(Days) + (1 | Subject)"
    mine = lme.lmer(formula, sleep, context={"f": lambda x: x + 1})
    mine.fit().save_fit(tmp_path / "g")
    with pytest.raises(OptionError, match="context= as objects"):
        restore_fit(tmp_path / "g", sleep)
    assert restore_fit(tmp_path / "g", model=mine).converged


def test_weights_and_offset_of_matrices_are_compared(tmp_path):
    sleep = data("sleepstudy")
    columns = {"weights": sleep["Days"] + 1.0, "offset": 0.1 * sleep["Days"]}

    def built(**changes):
        return lme.LMM(
            sleep["Reaction"], np.ones(180), sleep["Subject"], **columns | changes
        )

    res = built().fit()
    res.save_fit(tmp_path / "f")
    close(restore_fit(tmp_path / "f", model=built()).params, res.params)
    for name in columns:
        other = built(**{name: columns[name].to_numpy()[::-1]})
        with pytest.raises(DataError, match=f"The column '{name}' is not that of"):
            restore_fit(tmp_path / "f", model=other)


def test_a_column_that_is_not_there(tmp_path):
    """A weight by name, and a model of the same formula without that column."""
    sleep = data("sleepstudy")
    lme.lmer(SLEEP, sleep.assign(w=1.0), weights="w").fit().save_fit(tmp_path / "f")
    with pytest.raises(DataError, match="'w' is used by the stored fit only"):
        restore_fit(tmp_path / "f", model=lme.lmer(SLEEP, sleep))


def test_other_rows_of_the_same_data(tmp_path):
    """Other subsets: the number of rows, and the number of levels in as many rows."""
    sleep = data("sleepstudy").astype({"Subject": str})
    half = lme.lmer(SLEEP, sleep, subset="Days < 5").fit()
    half.save_fit(tmp_path / "f")
    for subset, expected in (
        ("Days < 6", "108 rows are used, the stored fit used 90"),
        ("Subject < '337'", r"\(\(Intercept\) \+ Days \| Subject\) with 9 levels"),
    ):
        other = lme.lmer(SLEEP, sleep, subset=subset)
        with pytest.raises(DataError, match=expected):
            restore_fit(tmp_path / "f", model=other)


class Own(lme.families.Poisson):
    """A family of the user's own."""


class Named(lme.families.Poisson):
    """Another one, with a name that nobody else knows."""

    name = "mine"


@pytest.mark.parametrize("kind", [Own, Named])
def test_families_of_the_users_own(tmp_path, kind):
    """They are no text: the model has to be given."""
    model = lme.glmer("TICKS ~ 1 + (1 | BROOD)", ticks(), family=kind())
    res = model.fit()
    res.save_fit(tmp_path / "f")
    with pytest.raises(OptionError, match="family= as objects"):
        restore_fit(tmp_path / "f", ticks())
    close(restore_fit(tmp_path / "f", model=model).params, res.params)


def test_results_that_cannot_be_stored(tmp_path):
    res = FITS["reml"]()
    again = res.refit(data("sleepstudy")["Reaction"] ** 1.1)
    with pytest.raises(FitError, match="another response"):
        again.save_fit(tmp_path / "f")
    light = res.without_data()
    with pytest.raises(FitError, match="remove_data"):
        light.save_fit(tmp_path / "f")
    assert os.listdir(tmp_path) == []


# --- files --------------------------------------------------------------------------


def test_files_are_not_replaced_unasked(tmp_path):
    res = FITS["reml"]()
    path = tmp_path / "fit.json"
    path.write_text("precious")
    with pytest.raises(OptionError, match="exists already"):
        res.save_fit(path)
    assert path.read_text() == "precious"
    res.save_fit(path, overwrite=True)
    assert restore_fit(path, data("sleepstudy")).converged
    assert os.listdir(tmp_path) == ["fit.json"]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    res = FITS["reml"]()
    path = tmp_path / "fit.json"

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(DataError, match="no space left"):
        res.save_fit(path)
    assert os.listdir(tmp_path) == []


def test_disks_without_links(tmp_path, monkeypatch):
    """The file is moved to its place; a faster process is not overwritten."""
    res = FITS["singular"]()
    path = tmp_path / "fit.json"

    def no_links(part, target):
        raise PermissionError(1, "Operation not permitted")

    def faster(error):
        def link(part, target):
            target.write_text("theirs")
            raise error

        return link

    monkeypatch.setattr(os, "link", no_links)
    res.save_fit(path)
    assert restore_fit(path, data("Dyestuff2")).converged
    for error in (FileExistsError(17, "File exists"), PermissionError(1, "No links")):
        path.unlink()
        monkeypatch.setattr(os, "link", faster(error))
        with pytest.raises(OptionError, match="exists already"):
            res.save_fit(path)
        assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["fit.json"]


class InBytes:
    """A path-like object whose path is no text."""

    def __fspath__(self):
        return b"fit.json"


@pytest.mark.parametrize(
    "path", ["", ".", "no/such/folder/fit.json", "a\0b", 5, None, InBytes()]
)
def test_paths_that_cannot_be(path, stored):
    res = FITS["singular"]()
    with pytest.raises((DataError, DataTypeError)):
        res.save_fit(path)
    with pytest.raises((DataError, DataTypeError)):
        restore_fit(path, data("sleepstudy"))


TEXTS = {
    "empty": "",
    "not json": "fit",
    "list": "[]",
    "number": "3",
    "null": "null",
    "deep": "[" * 100_000,
    "deep mapping": '{"a":' * 100_000,
    "nan": '{"format": "lme fit", "version": NaN}',
    "format": '{"format": "pickle", "version": 1}',
    "version": '{"format": "lme fit", "version": 99}',
    "version text": '{"format": "lme fit", "version": {"a": [1]}}',
    "nothing else": '{"format": "lme fit", "version": 1}',
    "long number": '{"format": "lme fit", "version": ' + "9" * 5000 + "}",
    "bytes": b"\xff\xfe\x00binary",
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_are_no_fit(tmp_path, name):
    path = tmp_path / "x.json"
    text = TEXTS[name]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError):
        restore_fit(path, data("sleepstudy"))


def test_truncated_files(stored, tmp_path):
    text = stored.read_text()
    for share in (0.1, 0.5, 0.9, 0.999):
        (tmp_path / "part").write_text(text[: int(share * len(text))])
        with pytest.raises(DataError, match="not a stored fit"):
            restore_fit(tmp_path / "part", data("sleepstudy"))


def test_huge_files(tmp_path, monkeypatch, stored):
    monkeypatch.setattr(document, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="MB"):
        restore_fit(stored, data("sleepstudy"))


def paths_within(content, prefix=()):
    """Where every value of a document is."""
    for key, value in content.items() if isinstance(content, dict) else ():
        yield (*prefix, key)
        yield from paths_within(value, (*prefix, key))


HOSTILE = [
    None,
    -1,
    1e308,
    10**400,
    True,
    "__import__('os').system('true')",
    [],
    [[]],
    ["x"],
    [1.0] * 3,
    {},
    {"a": {"b": None}},
    "NaN",
    "Infinity",
]


@pytest.mark.parametrize("name", ["reml", "gamma"])
def test_hostile_values_give_our_errors(name, tmp_path):
    """Any value of the document replaced by any other: an error of ours, or a fit."""
    res = FITS[name]()
    path = tmp_path / "fit.json"
    res.save_fit(path)
    good, frame = json.loads(path.read_text()), res.model.data.frame
    tried = 0
    rng = np.random.default_rng(5)
    for where in paths_within(good):
        # All values for the top of the document, some of them further down.
        picked = HOSTILE if len(where) == 1 else rng.choice(len(HOSTILE), 1)
        for value in picked:
            value = HOSTILE[value] if isinstance(value, np.integer) else value
            content = copy.deepcopy(good)
            inner = content
            for key in where[:-1]:
                inner = inner[key]
            inner[where[-1]] = value
            path.write_text(json.dumps(content))
            tried += 1
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    again = restore_fit(path, frame)
            except LMEError:
                continue
            # What does not matter to the fit may be anything.
            close(again.params, res.params)
    assert tried > 200


def test_a_changed_objective_is_refused(stored, tmp_path):
    content = json.loads(stored.read_text())
    content["estimates"]["objective"] += 0.01
    (tmp_path / "x").write_text(json.dumps(content))
    expected = "does not match the stored objective within atol=1e-06"
    with pytest.raises(DataError, match=expected):
        restore_fit(tmp_path / "x", data("sleepstudy"))
    assert restore_fit(tmp_path / "x", data("sleepstudy"), atol=0.1).converged
    content["estimates"]["theta"][0] *= 1.1
    (tmp_path / "x").write_text(json.dumps(content))
    with pytest.raises(DataError, match="does not match"):
        restore_fit(tmp_path / "x", data("sleepstudy"), atol=0.1)


@pytest.mark.parametrize(
    "name, part, key, value, expected",
    [
        ("reml", "estimates", "theta", ["Infinity", 0, 1], "'theta' is not a list of"),
        ("reml", "estimates", "theta", [1e160] * 3, "is not finite at the stored"),
        ("gamma", "estimates", "extra", 0.0, "'extra' is not a positive number"),
        ("gamma", "estimates", "beta", [1e5, 1e5], "is not finite at the stored"),
        (
            "gamma",
            "arguments",
            "family",
            {"name": "gamma", "link": "log", "theta": 2.0},
            "a theta that cannot be",
        ),
    ],
)
def test_estimates_that_cannot_be(tmp_path, name, part, key, value, expected):
    res, path = FITS[name](), tmp_path / "f"
    res.save_fit(path)
    content = json.loads(path.read_text())
    content[part][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=expected):
        restore_fit(path, data("sleepstudy"))


def test_a_kernel_that_is_not_installed(stored, tmp_path, monkeypatch):
    content = json.loads(stored.read_text())
    content["verdict"]["kernel"] = "cholmod"
    (tmp_path / "x").write_text(json.dumps(content))
    monkeypatch.setattr("lme.engine.choice.available", lambda: False)
    again = restore_fit(tmp_path / "x", data("sleepstudy"))
    assert again.convergence.kernel == "blocked"
    close(again.params, restore_fit(stored, data("sleepstudy")).params)


def test_versions_without_an_installation(tmp_path, monkeypatch):
    """A package that is imported from its folder has no version to write down."""

    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    FITS["singular"]().save_fit(tmp_path / "f")
    assert json.loads((tmp_path / "f").read_text())["versions"]["lme"] == "unknown"


def test_warnings_come_back_in_our_classes_only(stored, tmp_path):
    content = json.loads(stored.read_text())
    content["warnings"] = [
        {"class": "ConvergenceWarning", "message": "one"},
        {"class": "LMEError", "message": "two"},
        {"class": "annotations", "message": "three"},
    ]
    (tmp_path / "x").write_text(json.dumps(content))
    found = restore_fit(tmp_path / "x", data("sleepstudy")).warnings
    assert [type(each) for each in found] == [
        lme.ConvergenceWarning,
        lme.LMEWarning,
        lme.LMEWarning,
    ]


# --- parts --------------------------------------------------------------------------


def test_fingerprints_depend_on_values_only():
    values = np.array([1.0, 0.0, np.nan, 3.0])
    same = np.array([1.0, -0.0, -np.nan, 3.0])
    assert fingerprints.of_numbers(values) == fingerprints.of_numbers(same)
    assert fingerprints.of_numbers(values) != fingerprints.of_numbers(values[::-1])
    nearly = values + np.array([0, 0, 0, 4.5e-16])
    first, second = (fingerprints.of_numbers(v)["values"] for v in (values, nearly))
    assert first != second


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        np.True_,
        "a",
        1,
        2.5,
        np.nan,
        -np.inf,
        [1, [2]],
        {"a": (1, "b")},
        np.arange(3),
    ],
)
def test_plain(value):
    text = json.dumps(document.plain(value), allow_nan=False)
    assert json.loads(text) == document.plain(value)


@pytest.mark.parametrize("value", [object(), {1: 2}, lambda: 0, [pd.Series([1])], 1j])
def test_not_plain(value):
    with pytest.raises(TypeError):
        document.plain(value)
