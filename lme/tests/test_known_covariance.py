"""Known covariances between levels: kernels, models, and the published examples."""

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import lme
from lme.covariance.known import dense_covariance, sparse_precision
from lme.engine import choice, cholmod
from lme.engine.choice import KERNELS
from lme.fit import objective_at
from lme.inference.hypotheses.satterthwaite import hessian
from lme.relatedness import Precision
from lme.tests.designs import RandomDesign
from lme.tests.test_kernels import NAMES, POINTS, check, close, needs_cholmod, point


def spd(levels, seed, rank=None):
    """A covariance matrix with a scale of its own."""
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(levels, rank or 2 * levels))
    return B @ B.T / (rank or levels)


def neighbours(levels, seed):
    """A sparse precision."""
    rng = np.random.default_rng(seed)
    n = 2 * levels
    i, j = rng.integers(0, levels, n), rng.integers(0, levels, n)
    R = sparse.coo_array((rng.normal(size=n), (i, j)), (levels, levels)).tocsc()
    return sparse.csc_array(R @ R.T + 0.5 * sparse.eye_array(levels))


def dense(group, codes, levels):
    return dense_covariance(spd(levels, group), np.unique(codes), "g")


def singular(group, codes, levels):
    K = spd(levels, group, rank=max(levels // 2, 2))
    return dense_covariance(K, np.unique(codes), "g")


def precision(group, codes, levels):
    return sparse_precision(neighbours(levels, group), "g")


def first_only(relate):
    return lambda group, *rest: relate(group, *rest) if group == 0 else None


def last_only(relate):
    return lambda group, *rest: None if group == 0 else relate(group, *rest)


CASES = [
    *[(kind, relate) for kind in ("one scalar", "one vector", "empty levels")
      for relate in (dense, singular, precision)],
    *[("vector crossed", relate)
      for relate in (dense, precision, first_only(dense), first_only(precision),
                     last_only(singular))],
    ("nested and crossed", last_only(dense)),
    ("nested", last_only(precision)),
]  # fmt: skip


@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_kernels_against_dense_matrices(name, case, where):
    kind, relate = case
    design = RandomDesign(kind, relate=relate)
    singular_ = any(
        f.known is not None and f.known.inverse is None for f in design.factors
    )
    if name == "cholmod" and singular_:
        pytest.skip("needs the inverse")
    check(KERNELS[name](design.cross), design, point(design.template, where))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_inverse_where_the_products_have_entries(name, case, monkeypatch):
    kind, relate = case
    design = RandomDesign(kind, relate=relate)
    if name == "cholmod" and any(
        f.known is not None and f.known.inverse is None for f in design.factors
    ):
        pytest.skip("needs the inverse")
    lambdas = design.template.lambdas(point(design.template, "away"))
    kernel = KERNELS[name](design.cross)
    kernel.factor(lambdas)
    P = design.reference(lambdas).P
    diagonal, pairs = kernel.inverse()
    spans = list(design.spans())
    for block, s in zip(diagonal, spans, strict=True):
        close(block, P[s[:, :, None], s[:, None, :]])
    for (f, g), block in pairs.items():
        pair = design.cross.pairs[f, g]
        rows, cols = spans[f][pair.rows], spans[g][pair.cols]
        close(block, P[rows[:, :, None], cols[:, None, :]])


# --- models -----------------------------------------------------------------------


def pedigree(n, founders, seed):
    """Sire and dam of each animal; -1 for founders."""
    rng = np.random.default_rng(seed)
    sire, dam = np.full(n, -1), np.full(n, -1)
    for i in range(founders, n):
        sire[i], dam[i] = rng.choice(i, 2, replace=False)
    return sire, dam


def relationship(sire, dam):
    """Numerator relationship matrix by the tabular method."""
    n = len(sire)
    A = np.eye(n)
    for i in range(n):
        s, d = sire[i], dam[i]
        parents = [j for j in (s, d) if j >= 0]
        A[i, :i] = A[:i, i] = sum(0.5 * A[j, :i] for j in parents) if parents else 0
        if len(parents) == 2:
            A[i, i] = 1.0 + 0.5 * A[s, d]
    return A


@pytest.fixture(scope="module")
def herd():
    """Repeated records of animals whose ancestors have none."""
    rng = np.random.default_rng(5)
    n = 80
    A = relationship(*pedigree(n, 12, 4))
    rows = np.repeat(np.arange(20, n), 3)
    a = np.linalg.cholesky(A) @ rng.normal(size=n)
    data = pd.DataFrame(
        {"id": [f"a{i}" for i in rows], "x": rng.normal(size=rows.size)}
    )
    data["pe"] = data["id"]
    data["y"] = 2.0 + data.x * (0.5 + 0.6 * a[rows]) + a[rows]
    data["y"] += rng.normal(size=n)[rows] * 0.5 + rng.normal(size=rows.size)
    data["w"] = rng.uniform(0.5, 2.0, rows.size)
    data["z"] = (rng.random(rows.size) < 1 / (1 + np.exp(-data["y"] + 2))).astype(int)
    data["count"] = rng.poisson(np.exp(0.3 * np.clip(data["y"], -3, 5)))
    labels = [f"a{i}" for i in range(n)]
    return data, pd.DataFrame(A, labels, labels)


def inverse_of(K):
    Q = np.linalg.inv(K.to_numpy())
    return sparse.csc_array(np.where(np.abs(Q) < 1e-10, 0.0, Q))


def direct(result, data, K, reml):
    """-2 log-likelihood, beta, its covariance and b by matrices of n by n."""
    rows = np.array([list(K.index).index(level) for level in data["id"]])
    y, X = data["y"].to_numpy(), np.column_stack([np.ones(len(data)), data["x"]])
    w = result.getME("weights")
    V = np.diag(1.0 / w)
    first = result.getME("Tlist")["id"]
    Z = X[:, : len(first)]
    S = first @ first.T
    V += (Z @ S @ Z.T) * K.to_numpy()[np.ix_(rows, rows)]
    if "pe" in result.VarCorr():
        V += float(result.getME("Tlist")["pe"][0, 0]) ** 2 * (rows[:, None] == rows)
    Vi = np.linalg.inv(V)
    XVX = X.T @ Vi @ X
    beta = np.linalg.solve(XVX, X.T @ Vi @ y)
    e = y - X @ beta
    df = len(y) - 2 * reml
    r2 = e @ Vi @ e
    f = np.linalg.slogdet(V)[1] + df * (1 + np.log(2 * np.pi * r2 / df))
    if reml:
        f += np.linalg.slogdet(XVX)[1]
    G = np.zeros((len(K), len(first)))
    np.add.at(G, rows, Z * (Vi @ e)[:, None])
    return f, beta, r2 / df * np.linalg.inv(XVX), K.to_numpy() @ G @ S


FORMULAS = ("y ~ x + (1 | id)", "y ~ x + (1 | id) + (1 | pe)", "y ~ x + (x | id)")


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_against_the_likelihood_of_all_rows(herd, formula, weights, reml):
    data, K = herd
    model = lme.lmer(formula, data, covariances={"id": K}, weights=weights, REML=reml)
    result = model.fit()
    f, beta, cov, b = direct(result, data, K, reml)
    np.testing.assert_allclose(result.objective, f, rtol=1e-10)
    np.testing.assert_allclose(result.params, beta, rtol=1e-8)
    np.testing.assert_allclose(result.cov_params(), cov, rtol=1e-8)
    found = result.ranef()["id"].loc[K.index]
    np.testing.assert_allclose(found, b, atol=1e-9)
    assert result.converged


def test_the_optimum_is_one(herd):
    data, K = herd
    fit = lme.lmer("y ~ x + (1 | id)", data, covariances={"id": K}).fit().fit_record
    best = objective_at(fit, fit.theta)
    for step in (-1e-3, 1e-3):
        assert objective_at(fit, fit.theta * (1 + step)) > best


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("kernel", NAMES)
def test_precision_is_the_same_model(herd, formula, kernel):
    data, K = herd
    dense_ = lme.lmer(formula, data, covariances={"id": K}).fit()
    given = {"id": Precision(inverse_of(K), levels=K.index)}
    found = lme.lmer(formula, data, covariances=given).fit(kernel=kernel)
    np.testing.assert_allclose(found.objective, dense_.objective, rtol=1e-10)
    np.testing.assert_allclose(found.theta, dense_.theta, rtol=1e-5)
    np.testing.assert_allclose(found.ranef()["id"], dense_.ranef()["id"], atol=1e-6)
    np.testing.assert_allclose(
        found.condVar()["id"], dense_.condVar()["id"], rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", FORMULAS)
def test_gradient_by_differences(herd, formula, reml):
    data, K = herd
    fit = lme.lmer(formula, data, covariances={"id": K}, REML=reml).fit().fit_record
    theta = fit.problem.template.internal(fit.theta) + 0.1
    gradient = fit.criterion.evaluate(theta).gradient
    for i, unit in enumerate(np.eye(theta.size) * 1e-5):
        ends = [fit.criterion.evaluate(theta + s * unit).value for s in (1, -1)]
        assert gradient[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_average_information_is_close_to_the_hessian(herd):
    data, K = herd
    fit = lme.lmer("y ~ x + (x | id)", data, covariances={"id": K}).fit().fit_record
    at = fit.criterion.evaluate(fit.problem.template.internal(fit.theta))
    model = fit.criterion.curvature(at)
    exact = hessian(fit)[:-1, :-1]
    # Of average and observed information only the expectations are equal.
    np.testing.assert_allclose(model.diagonal(), exact.diagonal(), rtol=0.7)


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("z ~ x + (1 | id)", "binomial"),
        ("z ~ x + (1 | id) + (1 | pe)", "binomial"),
        ("count ~ x + (x | id)", "poisson"),
        ("count ~ x + (1 | id)", "negative_binomial"),
    ],
)
def test_gradient_of_a_generalized_model(herd, formula, family):
    data, K = herd
    model = lme.glmer(formula, data, family=family, covariances={"id": K})
    with pytest.warns(lme.ConvergenceWarning, match="cut short"):
        fit = model.fit(control={"max_evaluations": 3}).fit_record
    criterion, point = fit.criterion, fit.point + 0.05
    gradient = criterion.evaluate(point).gradient
    numeric = []
    for unit in np.eye(point.size) * 1e-5:
        ends = [criterion.evaluate(point + s * unit).value for s in (1, -1)]
        numeric.append((ends[0] - ends[1]) / 2e-5)
    size = np.abs(gradient).max()
    np.testing.assert_allclose(gradient, numeric, atol=1e-6 * size)


@needs_cholmod
def test_generalized_model_by_a_sparse_precision(herd, monkeypatch):
    data, K = herd
    dense_ = lme.glmer(
        "count ~ x + (1 | id)", data, family="poisson", covariances={"id": K}
    ).fit()
    monkeypatch.setattr(choice, "_LOOK_FROM", 0)
    given = {"id": Precision(inverse_of(K), K.index)}
    found = lme.glmer(
        "count ~ x + (1 | id)", data, family="poisson", covariances=given
    ).fit()
    assert found.convergence.kernel == "cholmod"
    np.testing.assert_allclose(found.objective, dense_.objective, rtol=1e-10)
    np.testing.assert_allclose(found.bse, dense_.bse, rtol=1e-5)


def test_quadrature_is_refused(herd):
    data, K = herd
    model = lme.glmer(
        "z ~ x + (1 | id)", data, family="binomial", covariances={"id": K}
    )
    with pytest.raises(lme.OptionError, match="known covariance between levels"):
        model.fit(nAGQ=5)


# --- a factor of families is the same model as relatives that are clones -------------


@pytest.fixture(scope="module")
def clones():
    rng = np.random.default_rng(3)
    ids = np.repeat(np.arange(60), 2)
    fam = ids // 5
    data = pd.DataFrame({"id": [f"i{k:02d}" for k in ids], "x": rng.normal(size=120)})
    data["fam"] = [f"f{k:02d}" for k in fam]
    data["g"] = np.tile(["a", "b"], 60)
    data["y"] = 1 + 0.5 * data.x + rng.normal(size=12)[fam] * 0.8 + rng.normal(size=120)
    labels = sorted(data["id"].unique())
    same = np.arange(60) // 5
    K = pd.DataFrame((same[:, None] == same).astype(float), labels, labels)
    return (
        lme.lmer("y ~ x + g + (1 | fam)", data).fit(),
        lme.lmer("y ~ x + g + (1 | id)", data, covariances={"id": K}).fit(),
        data,
    )


@pytest.mark.parametrize(
    "what",
    [
        lambda r, d: r.objective,
        lambda r, d: r.bse,
        lambda r, d: r.fittedvalues,
        lambda r, d: r.anova().to_numpy(float),
        lambda r, d: r.anova(ddf="kenward-roger").to_numpy(float),
        lambda r, d: float(r.caic()),
        lambda r, d: r.r2().marginal,
        lambda r, d: r.confint(method="profile").to_numpy(),
        lambda r, d: r.confint(method="wald").dropna().to_numpy(),
        lambda r, d: r.residuals("marginal", standardize="cholesky"),
        lambda r, d: r.residuals(standardize="leverage"),
        lambda r, d: r.residuals("marginal", type="quantile"),
        lambda r, d: r.hatvalues(),
        lambda r, d: r.get_influence().cooks_distance,
        lambda r, d: r.ranova().to_frame().to_numpy(float)[1],
        lambda r, d: r.get_prediction(d.iloc[:5]).summary_frame().to_numpy(float),
        lambda r, d: r.get_prediction(
            d.iloc[:5], re_form="none"
        ).summary_frame().to_numpy(float),
        lambda r, d: r.emmeans("g").to_frame()["se"],
        lambda r, d: r.drop1().to_frame().to_numpy(float)[1:],
        lambda r, d: abs(r.getME("A")).sum() * 0 + r.getME("RX"),
        lambda r, d: r.refit(d["y"] * 2 + np.arange(120)).objective,
    ],
)  # fmt: skip
def test_inference_sees_the_covariance(clones, what):
    families, relatives, data = clones
    expected = np.asarray(what(families, data), dtype=float)
    found = np.asarray(what(relatives, data), dtype=float)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_the_equations_hold_with_the_factor_in_lambda(clones):
    result = clones[1]
    Lambda, Z = result.getME("Lambda"), result.getME("Z")
    np.testing.assert_allclose(
        Lambda @ result.getME("u"), result.getME("b"), atol=1e-12
    )
    L = result.getME("L").toarray()
    ZL = (Z @ Lambda).toarray()
    np.testing.assert_allclose(L @ L.T, ZL.T @ ZL + np.eye(len(L)), atol=1e-12)
    two = np.linalg.slogdet(L @ L.T)[1]
    assert two == pytest.approx(result.fit_record.ldL2, rel=1e-9)


@pytest.mark.parametrize(
    "asked",
    [
        lambda r: r.get_robustcov_results("cluster"),
        lambda r: r.anova(ddf="containment"),
        lambda r: r.bootstrap(2, kind="groups", seed=1),
        lambda r: r.bootstrap(2, kind="semiparametric", seed=1),
        lambda r: r.getME("Lind"),
    ],
)
def test_what_takes_levels_to_be_independent_is_refused(clones, asked):
    with pytest.raises(lme.LMEError, match="known covariance"):
        asked(clones[1])


def test_simulation_has_the_covariance(clones):
    _, relatives, data = clones
    draws = relatives.simulate(4000, seed=1).to_numpy()
    draws = draws - relatives.predict(re_form="none").to_numpy()[:, None]
    found = draws @ draws.T / 4000
    sd = relatives.VarCorr().to_frame()["sdcor"].to_numpy()
    same = data["fam"].to_numpy()[:, None] == data["fam"].to_numpy()
    expected = sd[0] ** 2 * same + sd[1] ** 2 * np.eye(120)
    # Five standard errors of a covariance of 4,000 draws.
    np.testing.assert_allclose(found, expected, atol=5 * expected[0, 0] * 2**0.5 / 63)
    new = relatives.simulate(4000, seed=1, newdata=data.assign(id="i00")).to_numpy()
    between = np.corrcoef(new[0], new[-1])[0, 1]
    assert between == pytest.approx(sd[0] ** 2 / (sd**2).sum(), abs=0.07)


def test_bootstrap_draws_and_refits(clones):
    families, relatives, _ = clones
    a, b = (r.bootstrap(150, seed=2) for r in (families, relatives))
    spread = [np.std(np.asarray(each.replicates["x"])) if hasattr(each, "replicates")
              else np.std(each.values[:, -2]) for each in (a, b)]  # fmt: skip
    assert spread[1] == pytest.approx(spread[0], rel=0.3)


# --- published numbers --------------------------------------------------------------


def test_textbook_animal_model():
    """Mrode (2005), Linear Models for the Prediction of Animal Breeding Values, 3.1."""
    sire = np.array([-1, -1, -1, 0, 2, 0, 3, 2])
    dam = np.array([-1, -1, -1, -1, 1, 1, 4, 5])
    A = relationship(sire, dam)
    animals = [str(i) for i in range(1, 9)]
    data = pd.DataFrame(
        {
            "animal": ["4", "5", "6", "7", "8"],
            "sex": ["male", "female", "female", "male", "male"],
            "gain": [4.5, 2.9, 3.9, 3.5, 5.0],
        }
    )
    model = lme.lmer(
        "gain ~ 0 + sex + (1 | animal)",
        data,
        covariances={"animal": pd.DataFrame(A, animals, animals)},
    )
    # Variances of 20 and 40: their ratio is known, sigma does not matter.
    result = model.fit(fix={"theta": {"animal.(Intercept)": 20**0.5 / 40**0.5}})
    np.testing.assert_allclose(result.params.to_numpy(), [3.404, 4.358], atol=6e-4)
    published = [0.098, -0.019, -0.041, -0.009, -0.186, 0.177, -0.249, 0.183]
    found = result.ranef()["animal"].loc[animals, "(Intercept)"]
    np.testing.assert_allclose(found, published, atol=6e-4)
    # Prediction error variances of Mrode's example 3.1 (residual variance 40).
    pev = result.condVar()["animal"][0, 0] / result.sigma**2 * 40
    assert (pev < 20).all()


@pytest.fixture(scope="module")
def published():
    path = Path(__file__).parent / "reference/known_covariance/known.json.gz"
    return json.loads(gzip.decompress(path.read_bytes()))


def tree_covariance(tree):
    """Shared branch lengths of the tips, over the height of the tree."""
    parent = {child: (up, size) for (up, child), size in
              zip(tree["edge"], tree["length"], strict=True)}  # fmt: skip
    paths = []
    for tip in range(1, len(tree["tips"]) + 1):
        path = {}
        while tip in parent:
            path[tip] = parent[tip][1]
            tip = parent[tip][0]
        paths.append(path)
    C = np.array(
        [[sum(s for k, s in a.items() if k in b) for b in paths] for a in paths]
    )
    scale = np.sqrt(C.diagonal())
    return pd.DataFrame(C / np.outer(scale, scale), tree["tips"], tree["tips"])


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_phylogenetic_meta_analysis(published, method):
    """metafor's rma.mv with R=; Lim, Senior & Nakagawa (2014), 170 effects."""
    entry = published["lim"]
    data = pd.DataFrame(entry["data"])
    data["precision"] = 1.0 / data["vi"]
    data["id"] = np.arange(len(data))
    data["species2"] = data["species"]
    model = lme.lmer(
        "yi ~ amniotes + (1 | article) + (1 | id) + (1 | species) + (1 | species2)",
        data,
        weights="precision",
        sigma=1.0,
        REML=method == "REML",
        covariances={"species": tree_covariance(entry["tree"])},
    )
    result, expected = model.fit(), entry["fits"][method]
    # metafor's restricted likelihood is that of n - p contrasts of unit length.
    X = result.model.exog
    unit = 0.5 * np.linalg.slogdet(X.T @ X)[1] if method == "REML" else 0.0
    assert result.llf + unit == pytest.approx(expected["loglik"], abs=1e-4)
    np.testing.assert_allclose(result.params, expected["beta"], atol=1e-3)
    np.testing.assert_allclose(result.bse, expected["se"], rtol=1e-3)
    sd = [result.VarCorr()[name].to_numpy()[0, 0] ** 0.5
          for name in ("article", "id", "species", "species2")]  # fmt: skip
    np.testing.assert_allclose(sd, np.sqrt(expected["sigma2"]), atol=1e-3)
    found = result.ranef()["species"].loc[expected["species"], "(Intercept)"]
    np.testing.assert_allclose(found, expected["blup"], atol=2e-3)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_phylogenetic_mixed_model(published, method):
    """ape's carnivora: lme4 with a rotated Z, and Pagel's lambda by nlme."""
    entry = published["carnivora"]
    data, K = pd.DataFrame(entry["data"]), tree_covariance(entry["tree"])
    result = lme.lmer(
        "brain ~ body + (1 | species) + (1 | family)",
        data,
        REML=method == "REML",
        covariances={"species": K},
    ).fit()
    pagel, rotated = entry["fits"][method], entry["fits"]["rotated"][method]
    for expected in (pagel["loglik"], rotated["loglik"]):
        assert result.llf == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(result.params, rotated["beta"], rtol=1e-4)
    np.testing.assert_allclose(result.bse, rotated["se"], rtol=1e-4)
    parts = result.VarCorr().to_frame().set_index("grp")["sdcor"]
    expected = dict(zip(rotated["grp"], rotated["sd"], strict=True))
    for name in ("species", "Residual"):
        assert parts[name] == pytest.approx(expected[name], rel=1e-3)
    share = parts["species"] ** 2 / (parts["species"] ** 2 + parts["Residual"] ** 2)
    assert share == pytest.approx(pagel["lambda"], rel=1e-3)
    found = result.ranef()["species"].loc[rotated["levels"], "(Intercept)"]
    np.testing.assert_allclose(found, rotated["b"], atol=1e-3)


def test_phylogenetic_poisson_model(published):
    """lme4's glmer with a rotated Z."""
    entry = published["carnivora"]
    data, K = pd.DataFrame(entry["litters"]), tree_covariance(entry["tree"])
    model = lme.glmer(
        "y ~ body + (1 | species)", data, family="poisson", covariances={"species": K}
    )
    result, expected = model.fit(), entry["fits"]["poisson"]
    assert result.llf == pytest.approx(expected["loglik"], abs=1e-4)
    np.testing.assert_allclose(result.params, expected["beta"], atol=1e-3)
    assert result.VarCorr()["species"].iloc[0, 0] ** 0.5 == pytest.approx(
        expected["sd"], abs=1e-3
    )
    # Species of the tree without a litter size have predictions too.
    absent = sorted(set(K.index) - set(data["species"]))
    assert absent
    new = pd.DataFrame({"species": absent, "body": 1.0})
    modes = result.ranef()["species"].loc[absent, "(Intercept)"]
    fixed = result.params["(Intercept)"] + result.params["body"]
    np.testing.assert_allclose(
        result.predict(new, which="linear"), fixed + modes, rtol=1e-12
    )


# --- ancestors, new levels, labels, keeping -------------------------------------------


def test_ancestors_are_predicted(herd):
    data, K = herd
    result = lme.lmer("y ~ x + (1 | id)", data, covariances={"id": K}).fit()
    ancestors = [f"a{i}" for i in range(20)]
    new = pd.DataFrame({"id": ancestors, "x": 0.0})
    modes = result.ranef()["id"].loc[ancestors, "(Intercept)"].to_numpy()
    assert (np.abs(modes) > 1e-3).any()
    np.testing.assert_allclose(result.predict(new), result.params.iloc[0] + modes)
    frame = result.get_prediction(new).summary_frame()
    assert np.isfinite(frame.to_numpy(float)).all()
    # Best linear prediction: K_ad K_dd^-1 b_d.
    A, old = K.to_numpy(), result.ranef()["id"].loc[K.index].to_numpy()[:, 0]
    np.testing.assert_allclose(
        modes, A[:20, 20:] @ np.linalg.solve(A[20:, 20:], old[20:]), atol=1e-10
    )


def test_labels_may_come_in_any_order_and_as_numbers():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"id": np.repeat([11, 2, 7, 30, 5, 18], 4)})
    data["y"] = rng.normal(size=24) + rng.normal(size=31)[data["id"]]
    K = pd.DataFrame(spd(6, 1), [2, 5, 7, 11, 18, 30], [2, 5, 7, 11, 18, 30])
    first = lme.lmer("y ~ 1 + (1 | id)", data, covariances={"id": K}).fit()
    order = [7, 30, 2, 18, 11, 5]
    turned = K.loc[order, order[::-1]]
    second = lme.lmer("y ~ 1 + (1 | id)", data, covariances={"id": turned}).fit()
    plain = lme.lmer("y ~ 1 + (1 | id)", data, covariances={"id": K.to_numpy()}).fit()
    text = data.assign(id=data["id"].astype(float))
    floats = lme.lmer("y ~ 1 + (1 | id)", text, covariances={"id": K}).fit()
    for other in (second, plain, floats):
        assert other.objective == pytest.approx(first.objective, rel=1e-12)
    arrays = lme.LMM(
        data["y"], np.ones(24), groups={"id": data["id"]}, covariances={"id": K}
    )
    assert arrays.fit().objective == pytest.approx(first.objective, rel=1e-12)


def test_a_large_scale_of_the_covariance_does_not_matter(herd):
    data, K = herd
    one = lme.lmer("y ~ x + (1 | id)", data, covariances={"id": K}).fit()
    other = lme.lmer("y ~ x + (1 | id)", data, covariances={"id": 1e8 * K}).fit()
    assert other.objective == pytest.approx(one.objective, rel=1e-12)
    assert other.theta.iloc[0] * 1e4 == pytest.approx(one.theta.iloc[0], rel=1e-6)


def test_pickle_and_update(herd, tmp_path):
    data, K = herd
    given = {"id": Precision(inverse_of(K), K.index)}
    result = lme.lmer("y ~ x + (1 | id)", data, covariances=given).fit()
    result.ranef(), result.simulate(1, seed=1)
    again = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(again.ranef()["id"], result.ranef()["id"])
    bare = pickle.loads(pickle.dumps(result.without_data()))
    np.testing.assert_allclose(bare.ranef()["id"], result.ranef()["id"], atol=1e-12)
    smaller = result.model.update(". ~ . - x").fit()
    assert len(smaller.ranef()["id"]) == len(K)


def test_inputs_are_not_changed(herd):
    data, K = herd
    before, frame = K.copy(), data.copy()
    lme.lmer("y ~ x + (1 | id)", data, covariances={"id": K}).fit()
    pd.testing.assert_frame_equal(K, before)
    pd.testing.assert_frame_equal(data, frame)


@pytest.mark.slow
def test_two_thousand_related_animals_take_seconds():
    n = 2000
    A = relationship(*pedigree(n, 200, 1))
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"id": np.arange(n), "x": rng.normal(size=n)})
    data["y"] = np.linalg.cholesky(A) @ rng.normal(size=n) + rng.normal(size=n)
    model = lme.lmer("y ~ x + (1 | id)", data, covariances={"id": A})
    result = model.fit()
    assert result.converged
    assert result.convergence.evaluations <= 12


# --- what is refused -----------------------------------------------------------------


def broken(K, what):
    K = K.copy()
    if what == "asymmetric":
        K.iloc[3, 5] += 0.1
    elif what == "indefinite":
        K.iloc[3, 3] = 0.01
    elif what == "nan":
        K.iloc[2, 2] = np.nan
    elif what == "missing":
        K = K.iloc[:-2, :-2]
    elif what == "twice":
        K.index = K.columns = ["a0", "a0", *K.index[2:]]
    elif what == "index":
        K.index = [f"b{i}" for i in range(len(K))]
    elif what == "text":
        K = K.astype(object)
        K.iloc[0, 0] = "one"
    return K


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("asymmetric", "not symmetric: it has .* for 'a3' and 'a5'"),
        ("indefinite", "not positive semidefinite: its least eigenvalue is -"),
        ("nan", "1 missing or infinite"),
        ("missing", "lacks 2 of the 60 levels of the data: 'a78', 'a79'"),
        ("twice", "has the level 'a0' more than once"),
        ("index", "index and the columns"),
        ("text", "not a numeric matrix"),
    ],
)
def test_bad_matrices(herd, what, text):
    data, K = herd
    with pytest.raises(lme.LMEError, match=text):
        lme.lmer("y ~ x + (1 | id)", data, covariances={"id": broken(K, what)})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ID": np.eye(60)}, "'ID', which is not a grouping factor.*Did you mean 'id'"),
        ({"id": np.eye(3)}, "has 3 rows and no labels; the factor has 60 levels"),
        ({"id": np.ones((60, 2))}, "has shape"),
        ({"id": {"precision": np.eye(60)}}, "is a mapping"),
        ({"id": Precision(np.eye(60), ["a"])}, "60 rows and 1 labels"),
        ({"id": Precision(-np.eye(60))}, "not positive definite"),
        ({"id": Precision(np.ones((60, 60)))}, "not positive definite"),
        ({"id": None}, "not a numeric matrix|shape"),
        (np.eye(60), "Expected a mapping"),
    ],
)
def test_bad_covariances(herd, given, text):
    with pytest.raises(lme.LMEError, match=text):
        lme.lmer("y ~ x + (1 | id)", herd[0], covariances=given)


def test_singular_covariance_needs_the_blocked_kernel(herd):
    data, _ = herd
    K = spd(60, 1, rank=10)
    model = lme.lmer("y ~ x + (1 | id)", data, covariances={"id": K})
    assert model.fit().converged
    if cholmod.available():
        with pytest.raises(lme.OptionError, match="singular"):
            model.fit(kernel="cholmod")


def test_levels_beyond_the_data_need_a_single_factor(herd):
    data, _ = herd
    data = data.assign(a=np.tile(["u", "v"], 90), b=np.tile(["p", "q", "r"], 60))
    labels = [f"{a}:{b}" for a in "uvw" for b in "pqr"]
    K = pd.DataFrame(np.eye(9), labels, labels)
    with pytest.raises(lme.DataError, match="a column of its own"):
        lme.lmer("y ~ x + (1 | a:b)", data, covariances={"a:b": K})
    found = lme.lmer("y ~ x + (1 | a:b)", data, covariances={"a:b": K.iloc[:6, :6]})
    plain = lme.lmer("y ~ x + (1 | a:b)", data).fit()
    assert found.fit().objective == pytest.approx(plain.objective, rel=1e-10)
