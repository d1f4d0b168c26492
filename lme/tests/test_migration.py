"""A MixedLM of statsmodels and its translation have the same likelihood."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams, VCSpec

import lme
from lme.errors import DataTypeError, OptionError
from lme.migration import Migration, from_mixedlm
from lme.translation.formulas import fixed_part

pytestmark = pytest.mark.filterwarnings(
    "ignore::statsmodels.tools.sm_exceptions.ConvergenceWarning",
    "ignore::FutureWarning",
    "ignore::RuntimeWarning",
)


def texts(name, *columns, **renamed):
    frame = lme.datasets.load(name).rename(columns=renamed)
    return frame.astype(dict.fromkeys(columns, str))


def sleep():
    return texts("sleepstudy", "Subject").assign(z=lambda d: np.sin(np.arange(len(d))))


def halves():
    late = sleep()["Days"] > 4
    return sleep().assign(
        late=1.0 * late,
        early=1.0 * ~late,
        half=np.where(late, "late", "early"),
        sign=lambda d: np.where(d["z"] > 0, "plus", "minus"),
    )


def oats():
    return texts("oats", "block", "variety", "nitrogen", **{"yield": "Y"})


def diagonal(p):
    return MixedLMParams.from_components(np.ones(p), cov_re=np.eye(2))


def old_format():
    frame = sleep().sort_values("Subject", kind="stable")
    groups = frame["Subject"].to_numpy()
    mats = {"d": {g: frame.loc[groups == g, ["Days"]].to_numpy() for g in set(groups)}}
    X = sm.add_constant(frame["Days"].to_numpy(float))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MixedLM(
            frame["Reaction"].to_numpy(), X, groups, exog_re=np.ones(180), exog_vc=mats
        )


def matrices():
    frame = sleep()
    X = sm.add_constant(frame["Days"].to_numpy(float))
    return MixedLM(frame["Reaction"].to_numpy(), X, frame["Subject"], exog_re=X)


# MixedLM, arguments of its fit, formula here (None: from matrices)
SPECS = {
    "intercept": (
        lambda: smf.mixedlm("Reaction ~ Days", sleep(), groups="Subject"),
        {},
        "Reaction ~ Days + (1 | Subject)",
    ),
    "transformed": (
        lambda: smf.mixedlm(
            "np.log(Reaction) ~ np.sqrt(Days)", sleep(), groups=sleep()["Subject"]
        ),
        {},
        "log(Reaction) ~ sqrt(Days) + (1 | Subject)",
    ),
    "slopes": (
        lambda: smf.mixedlm(
            "Reaction ~ Days", sleep(), groups="Subject", re_formula="~Days"
        ),
        {},
        "Reaction ~ Days + (1 + Days | Subject)",
    ),
    "slope alone": (
        lambda: smf.mixedlm(
            "Reaction ~ Days", sleep(), groups="Subject", re_formula="~0 + Days"
        ),
        {},
        "Reaction ~ Days + (0 + Days | Subject)",
    ),
    "free": (
        lambda: smf.mixedlm(
            "Reaction ~ Days", sleep(), groups="Subject", re_formula="~Days"
        ),
        {"free": diagonal(2)},
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)",
    ),
    "slope as component": (
        lambda: smf.mixedlm(
            "Reaction ~ Days",
            sleep(),
            groups="Subject",
            re_formula="1",
            vc_formula={"d": "0 + Days"},
        ),
        {},
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)",
    ),
    "nested": (
        lambda: smf.mixedlm(
            "strength ~ 1",
            texts("Pastes", "batch", "cask"),
            groups="batch",
            re_formula="1",
            vc_formula={"cask": "0 + C(cask)"},
        ),
        {},
        "strength ~ 1 + (1 | batch) + (1 | cask:batch)",
    ),
    "crossed": (
        lambda: smf.mixedlm(
            "diameter ~ 1",
            texts("Penicillin", "plate", "sample"),
            groups=np.ones(144),
            vc_formula={"plate": "0 + C(plate)", "sample": "0 + sample"},
        ),
        {},
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
    ),
    "oats": (  # the example of the founding documents
        lambda: smf.mixedlm("Y ~ variety*nitrogen", oats(), groups=oats()["block"]),
        {},
        "Y ~ variety*nitrogen + (1 | block)",
    ),
    "oats, nested": (
        lambda: smf.mixedlm(
            "Y ~ C(variety)*C(nitrogen)",
            oats(),
            groups="block",
            re_formula="1",
            vc_formula={"plots": "0 + C(variety)"},
        ),
        {},
        "Y ~ factor(variety)*factor(nitrogen) + (1 | block) + (1 | variety:block)",
    ),
    "one variance of two slopes": (
        lambda: smf.mixedlm(
            "Reaction ~ Days",
            sleep(),
            groups="Subject",
            re_formula="1",
            vc_formula={"both": "0 + Days + z"},
        ),
        {},
        None,
    ),
    "contrasts of patsy": (
        lambda: smf.mixedlm("Y ~ C(variety, Sum)", oats(), groups="block"),
        {},
        "Y ~ C(variety, Sum) + (1 | block)",
    ),
    "a function of patsy": (
        lambda: smf.mixedlm("Reaction ~ center(Days)", sleep(), groups="Subject"),
        {},
        None,
    ),
    "another definition of scale": (  # patsy divides by n, R by n - 1
        lambda: smf.mixedlm("Reaction ~ scale(Days)", sleep(), groups="Subject"),
        {},
        None,
    ),
    "the same in a slope": (
        lambda: smf.mixedlm(
            "Reaction ~ Days", sleep(), groups="Subject", re_formula="~scale(Days)"
        ),
        {},
        None,
    ),
    "another coding of an interaction": (  # R has a column more, and drops it
        lambda: smf.mixedlm("Reaction ~ half:sign", halves(), groups="Subject"),
        {},
        None,
    ),
    "groups that are no column": (
        lambda: smf.mixedlm(
            "Reaction ~ Days", sleep(), groups=3 * sleep()["Subject"].astype(int).values
        ),
        {},
        None,
    ),
    "levels in several columns": (
        lambda: smf.mixedlm(
            "Reaction ~ Days",
            halves(),
            groups="Subject",
            re_formula="1",
            vc_formula={"part": "0 + late + early"},
        ),
        {},
        None,
    ),
    "an intercept as component": (
        lambda: smf.mixedlm(
            "Reaction ~ Days",
            sleep(),
            groups="Subject",
            re_formula="0 + Days",
            vc_formula={"all": "1"},
        ),
        {},
        "Reaction ~ Days + (0 + Days | Subject) + (1 | Subject)",
    ),
    "matrices": (matrices, {}, None),
    "matrices, free": (matrices, {"free": diagonal(2)}, None),
    "deprecated components": (old_format, {}, None),
}


@pytest.mark.parametrize("name", SPECS)
def test_same_likelihood(name):
    build, options, formula = SPECS[name]
    old = build().fit(reml=True, **options)
    migration = from_mixedlm(old)
    assert migration.formula == formula and migration.reml
    new = migration.fit()
    # MixedLM stops early; its likelihood can be lower by that, never higher.
    assert -1e-7 < new.llf - old.llf < 1e-5
    table = migration.compare(new)
    assert_allclose(table["new_value"], table["old_value"], rtol=2e-3, atol=2e-3)
    # A covariance that is held at zero is no parameter here.
    names = list(old.model.data.param_names)
    if options:
        names = [name for name in names if not name.endswith(" Cov")]
    assert table["old"].tolist() == [*names, "Scale"]
    scope = {"fixef": new.fixef, "VarCorr": new.VarCorr, "scale": new.scale}
    for row in table.itertuples():
        assert_allclose(eval(row.get, {}, scope), row.new_value)  # noqa: S307


@pytest.mark.parametrize("name", ["slopes", "nested", "matrices"])
def test_maximum_likelihood(name):
    build, options, _ = SPECS[name]
    old = build().fit(reml=False, **options)
    migration = from_mixedlm(old)
    assert not migration.reml
    assert -1e-7 < migration.fit().llf - old.llf < 1e-5
    assert migration.fit(reml=True).reml


def test_the_same_criterion_at_any_point():
    """Not at the optimum only: the likelihoods are one function."""
    old = SPECS["slopes"][0]()
    old.fit()
    model = from_mixedlm(old).model
    cov = np.array([[0.9, 0.05], [0.05, 0.08]])
    params = MixedLMParams.from_components(np.zeros(2), cov_re=cov)
    record = model.fit().fit_record
    factor = np.linalg.cholesky(cov)
    theta = np.array([factor[0, 0], factor[1, 0], factor[1, 1]])
    found = -0.5 * lme.fit.objective_at(record, theta)
    assert_allclose(found, old.loglike(params), rtol=1e-10)


def test_models_and_arguments():
    frame = sleep()
    of_text = from_mixedlm(
        "Reaction ~ Days", frame, groups="Subject", re_formula="~Days"
    )
    of_model = from_mixedlm(SPECS["slopes"][0]())
    assert isinstance(of_text, Migration) and of_text.formula == of_model.formula
    assert of_text.parameters["old_value"].isna().all()
    free = from_mixedlm(SPECS["slopes"][0](), free=diagonal(2))
    assert free.formula == "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)"
    # A model from a formula predicts, and its terms can be tested.
    fit = of_model.fit()
    assert_allclose(fit.predict(frame.head(2)), [253.663670, 273.329928], rtol=1e-6)
    assert "Days" in fit.anova().index


def test_sparse_components():
    frame = texts("Pastes", "batch", "cask")
    found = from_mixedlm(
        "strength ~ 1",
        frame,
        groups="batch",
        re_formula="1",
        vc_formula={"cask": "0 + C(cask)"},
        use_sparse=True,
    )
    dense = from_mixedlm(SPECS["nested"][0]())
    assert found.formula == dense.formula
    assert_allclose(found.fit().llf, dense.fit().llf, rtol=1e-12)


def test_the_map_in_print():
    build, _options, _ = SPECS["nested"]
    shown = repr(from_mixedlm(build().fit()))
    lines = shown.splitlines()
    assert lines[0] == "strength ~ 1 + (1 | batch) + (1 | cask:batch)"
    assert lines[2].split() == ["MixedLM", "lme", "from", "a", "result", "estimate"]
    assert lines[5].startswith("cask Var  cask:batch: var (Intercept)")
    assert lines[5].split()[-1].startswith("8.43")
    assert "estimate" not in repr(from_mixedlm(build()))


def test_what_has_no_counterpart():
    model = SPECS["slopes"][0]()
    part = MixedLMParams.from_components(np.ones(3), cov_re=np.ones((3, 3)))
    part.cov_re[0, 2] = part.cov_re[2, 0] = 0
    three = smf.mixedlm(
        "Reaction ~ Days + z", sleep(), groups="Subject", re_formula="~Days + z"
    )
    with pytest.raises(OptionError, match="blocks"):
        from_mixedlm(three, free=part)
    for held in (
        MixedLMParams.from_components(np.array([1, 0]), cov_re=np.ones((2, 2))),
        MixedLMParams.from_components(np.ones(2), cov_re=np.diag([1.0, 0.0])),
    ):
        with pytest.raises(OptionError, match="at its start"):
            from_mixedlm(model, free=held)
    start = MixedLMParams.from_components(
        np.array([250.0, 10.0]), cov_re=np.array([[1.0, 0.2], [0.2, 0.5]])
    )
    with pytest.raises(OptionError, match="a covariance at a value other than zero"):
        from_mixedlm(model.fit(free=diagonal(2), start_params=start), free=diagonal(2))
    with pytest.raises(OptionError, match="penalty"):
        from_mixedlm(matrices().fit_regularized(alpha=1.0))
    rng = np.random.default_rng(0)
    wide = VCSpec(
        ["w"], [[[f"c{i}" for i in range(60)]]], [[rng.normal(size=(180, 60))]]
    )
    y, X = np.asarray(sleep()["Reaction"]), np.ones((180, 1))
    with pytest.raises(OptionError, match="60 columns"):
        from_mixedlm(MixedLM(y, X, np.ones(180), exog_vc=wide))


def test_a_model_without_its_data():
    old = SPECS["intercept"][0]()
    old.endog = old.exog = None  # as remove_data of statsmodels leaves models
    with pytest.raises(OptionError, match=r"does not hold its data.*Build it again"):
        from_mixedlm(old)


@pytest.mark.parametrize(
    "arguments, options, error, expected",
    [
        ((5,), {}, DataTypeError, "type int"),
        (("y ~ x",), {}, OptionError, "needs data and groups"),
        (("Reaction ~", "sleep"), {"groups": "Subject"}, OptionError, "cannot build"),
        (("Reaction ~ Days", "sleep"), {"groups": "nope"}, OptionError, "cannot build"),
        (("model",), {"groups": "Subject"}, OptionError, "goes with a formula"),
    ],
)
def test_misuse(arguments, options, error, expected):
    known = {"sleep": sleep(), "model": SPECS["intercept"][0]()}
    given = [
        known.get(each, each) if isinstance(each, str) else each for each in arguments
    ]
    with pytest.raises(error, match=expected):
        from_mixedlm(*given, **options)
    ols = sm.OLS(np.arange(5.0), np.ones((5, 1)))
    with pytest.raises(DataTypeError, match="OLS"):
        from_mixedlm(ols)


def test_compare_wants_a_fit_of_the_model():
    migration = from_mixedlm(SPECS["slopes"][0]())
    other = lme.lmer("Reaction ~ Days + (1 | Subject)", sleep()).fit()
    for wrong in (other, 5):
        with pytest.raises(OptionError, match="not a fit of this model"):
            migration.compare(wrong)


def test_input_stays_as_it_was():
    frame = sleep()
    before = frame.copy()
    old = smf.mixedlm("Reaction ~ Days", frame, groups="Subject", re_formula="~Days")
    exog = old.exog.copy()
    from_mixedlm(old).fit()
    pd.testing.assert_frame_equal(frame, before)
    assert np.array_equal(old.exog, exog)


@pytest.mark.parametrize(
    "patsy, ours",
    [
        ("y ~ C(f)", "y ~ factor(f)"),
        ("np.log(y) ~ np.exp(x) + log(z)", "log(y) ~ exp(x) + log(z)"),
        ("y ~ (a + b)**2", "y ~ (a + b)^2"),
        ("Q('a b') ~ C(f):x", "`a b` ~ factor(f):x"),
        ("y ~ C(f, Sum)", "y ~ C(f, Sum)"),
    ],
)
def test_names_of_patsy(patsy, ours):
    assert fixed_part(patsy) == ours
