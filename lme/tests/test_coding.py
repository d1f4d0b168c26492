"""Codings of factors: names, matrices, completion, errors.

R's matrices are compared in test_functions.py, through ``contr.*`` and ``C()``.
"""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from lme.errors import DesignError, FormulaError
from lme.formula.coding import CONTRASTS, contrast_matrix, full_dummy, polynomial

LEVELS = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("spec", "ordered", "names"),
    [
        (None, False, ("b", "c", "d")),
        (None, True, (".L", ".Q", ".C")),
        ("contr.treatment", True, ("b", "c", "d")),
        ("treatment", False, ("b", "c", "d")),
        ("Treatment", False, ("b", "c", "d")),
        ("contr.SAS", False, ("a", "b", "c")),
        ("sas", False, ("a", "b", "c")),
        ("contr.sum", False, ("1", "2", "3")),
        ("Sum", True, ("1", "2", "3")),
        ("helmert", False, ("1", "2", "3")),
        ("Poly", False, (".L", ".Q", ".C")),
    ],
)
def test_names(spec, ordered, names):
    matrix, found = contrast_matrix(spec, LEVELS, ordered)
    assert found == names
    assert matrix.shape == (4, 3)
    assert matrix.dtype == np.float64


@pytest.mark.parametrize("k", [2, 3, 6, 40])
@pytest.mark.parametrize("spec", CONTRASTS)
def test_every_coding_identifies_the_levels(spec, k):
    matrix, names = contrast_matrix(spec, [str(i) for i in range(k)])
    assert len(set(names)) == k - 1
    assert np.linalg.matrix_rank(np.column_stack([np.ones(k), matrix])) == k
    if spec in ("sum", "helmert", "poly"):
        np.testing.assert_allclose(matrix.sum(axis=0), 0, atol=1e-12)
    if spec in ("helmert", "poly"):
        cross = matrix.T @ matrix
        np.testing.assert_allclose(cross, np.diag(np.diag(cross)), atol=1e-11)


def test_higher_degrees_have_r_names():
    assert polynomial([""] * 6)[1] == (".L", ".Q", ".C", "^4", "^5")
    assert polynomial([""] * 2)[1] == (".L",)


def exact_polynomials(points):
    """Orthogonal polynomials in rational arithmetic, normalized at the end."""
    y = [Fraction(p) for p in points]
    mean = sum(y) / len(y)
    y = [v - mean for v in y]
    columns = [[Fraction(1)] * len(y)]
    for _ in range(len(y) - 1):
        column = [a * b for a, b in zip(y, columns[-1], strict=True)]
        for q in columns[-2:]:
            norm = sum(v * v for v in q)
            factor = sum(a * b for a, b in zip(column, q, strict=True)) / norm
            column = [a - factor * b for a, b in zip(column, q, strict=True)]
        columns.append(column)
    return np.array(
        [
            [float(v) / float(sum(u * u for u in q)) ** 0.5 for v in q]
            for q in columns[1:]
        ]
    ).T


@pytest.mark.parametrize("k", [5, 20, 40])
def test_polynomials_are_exact(k):
    # R's columns are off by 1e-10 at 20 levels and by 0.8 at 25.
    matrix = polynomial([""] * k)[0]
    np.testing.assert_allclose(matrix, exact_polynomials(range(k)), atol=1e-13)


def test_polynomials_with_scores():
    scores = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    matrix = polynomial([""] * 5, scores)[0]
    np.testing.assert_allclose(
        matrix, exact_polynomials(scores.astype(int)), atol=1e-14
    )
    missing, infinite = (np.where(scores == 4, v, scores) for v in (np.nan, np.inf))
    for wrong in (scores[:4], np.ones(5), scores * np.nan, missing, infinite):
        with pytest.raises(FormulaError, match="different numbers"):
            polynomial([""] * 5, wrong)


def test_full_dummy():
    matrix, names = full_dummy(LEVELS)
    np.testing.assert_array_equal(matrix, np.eye(4))
    assert names == LEVELS


def test_given_matrices():
    given = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    for spec in (given, given.tolist(), lambda levels: given):
        matrix, names = contrast_matrix(spec, LEVELS)
        np.testing.assert_array_equal(matrix, given)
        assert names == ("1", "2", "3")
    named = pd.DataFrame(given, columns=["x", "y", "z"])
    for spec in (named, (given, ("x", "y", "z"))):
        assert contrast_matrix(spec, LEVELS)[1] == ("x", "y", "z")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_matrix_has_its_own_columns_and_that_of_a_function_has_k_minus_1(width):
    # R: model.matrix(~ f, contrasts.arg = list(f = m)) against list(f = function).
    given = np.eye(4)[:, :width]
    matrix, names = contrast_matrix(given, LEVELS)
    np.testing.assert_array_equal(matrix, given)
    assert names == tuple(map(str, range(1, width + 1)))
    assert contrast_matrix(given.tolist(), LEVELS)[1] == names
    labels = list("uvwx")[:width]
    frame = pd.DataFrame(given, index=list(LEVELS), columns=labels)
    for named in (frame, (given, labels)):
        matrix, names = contrast_matrix(named, LEVELS)
        np.testing.assert_array_equal(matrix, given)
        assert names == tuple(labels)
    kept = min(width, 3)
    matrix, names = contrast_matrix(lambda levels: frame, LEVELS)
    assert matrix.shape == (4, 3)
    np.testing.assert_array_equal(matrix[:, :kept], given[:, :kept])
    assert names == (*labels[:kept], *[""] * (3 - kept))


def test_callable_gets_the_levels():
    seen = []

    def coding(levels):
        seen.append(levels)
        return np.vander(np.arange(1.0, len(levels) + 1), len(levels))[:, :-1]

    matrix, _ = contrast_matrix(coding, ["p", "q", "r"])
    assert seen == [("p", "q", "r")]
    np.testing.assert_array_equal(matrix, [[1, 1], [4, 2], [9, 3]])


def test_completion_is_orthogonal_and_keeps_the_given():
    given = np.array([1.0, 0.0, 0.0, -1.0])
    matrix, names = contrast_matrix(given, LEVELS)
    np.testing.assert_array_equal(matrix[:, 0], given)
    assert names == ("1", "2", "3")
    added = matrix[:, 1:]
    np.testing.assert_allclose(added.T @ added, np.eye(2), atol=1e-15)
    np.testing.assert_allclose(
        np.column_stack([np.ones(4), given]).T @ added, 0, atol=1e-15
    )
    matrix, names = contrast_matrix(lambda levels: (given[:, None], ["ends"]), LEVELS)
    assert names == ("ends", "", "")
    np.testing.assert_array_equal(matrix[:, 1:], added)


@pytest.mark.parametrize(
    ("spec", "levels", "message"),
    [
        (None, ("a",), "only 1 level.*2 or more"),
        (None, (), "only 0 level"),
        ("contr.sum", tuple(map(str, range(20_000))), "20000 levels"),
        ("poly", tuple(map(str, range(2_000))), "2000 levels"),
        (np.eye(3), LEVELS, r"shape \(3, 3\).*4 rows"),
        (np.full((4, 3), np.nan), LEVELS, "finite"),
        ([["a", "b"]] * 4, LEVELS, "4 rows"),
        (np.ones(4), LEVELS, "linearly dependent"),
        ((np.eye(4)[:, 1:], ("x",)), LEVELS, "1 names were given for 3"),
        (([[1], [1, 2], [3], [4]], ("x",)), LEVELS, "4 rows"),
        (np.ones((4, 0)), LEVELS, "0 contrast columns"),
        (lambda levels: None, LEVELS, "returned None"),
        (lambda levels: "sum", LEVELS, "must return a matrix"),
    ],
)
def test_errors(spec, levels, message):
    with pytest.raises(DesignError, match="(?s)" + message):
        contrast_matrix(spec, levels)


def test_unknown_name():
    with pytest.raises(FormulaError, match=r"no contrast function 'contr.summ'.*'sum'"):
        contrast_matrix("contr.summ", LEVELS)


def test_rows_of_a_contrast_frame_go_by_the_levels_that_label_them():
    wanted = np.vstack([np.eye(3), -np.ones(3)])
    frame = pd.DataFrame(wanted, index=list(LEVELS), columns=list("uvw"))
    for given in (frame, frame.loc[["d", "b", "a", "c"]]):
        matrix, names = contrast_matrix(given, LEVELS)
        np.testing.assert_array_equal(matrix, wanted)
        assert names == ("u", "v", "w")
    matrix, _ = contrast_matrix(frame.reset_index(drop=True), LEVELS)
    np.testing.assert_array_equal(matrix, wanted)
    with pytest.raises(DesignError, match="labelled a, b, c, e"):
        contrast_matrix(frame.rename(index={"d": "e"}), LEVELS)


def test_a_contrast_function_that_fails_is_an_error_of_the_design():
    def number_only(k):
        return np.eye(k)[:, 1:]

    with pytest.raises(DesignError, match=r"raised TypeError.*tuple of the levels"):
        contrast_matrix(number_only, LEVELS)
    with pytest.raises(DesignError, match="raised ZeroDivisionError"):
        contrast_matrix(lambda levels: 1 / 0, LEVELS)
