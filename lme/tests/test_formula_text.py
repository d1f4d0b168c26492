"""Reading formulas: precedence, deparsing, expansion, errors with their place.

The tables were checked against R 4.2.2 (terms, deparse, update.formula).
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lme.errors import DataTypeError, FormulaError, LMEError
from lme.formula import build_design, parse_formula
from lme.formula.expand import expand
from lme.formula.functions import FUNCTIONS
from lme.formula.parser import MAX_DEPTH, parse
from lme.formula.revision import revise
from lme.formula.syntax import deparse
from lme.formula.tokens import MAX_LENGTH


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a+b*c", "a + b * c"),
        ("I( x ^2 )", "I(x^2)"),
        ("a**2", "a^2"),
        ("a %in%b", "a %in% b"),
        ("a%%b %/% c", "a%%b%/%c"),
        ("x[", None),
        ("f(a=1,'b' = 2)", "f(a = 1, b = 2)"),
        ("relevel(f, 'c')", 'relevel(f, "c")'),
        ("c(1e5,100000,0x10,1L,.5,1e-4,123456)", None),
        ("`my var`:`a`", "`my var`:a"),
        ("`a\\`b`", "`a\\`b`"),
        ("'a\"b\\n'", '"a\\"b\\n"'),
        ("-a^2", "-a^2"),
        ("a^-1", "a^-1"),
        ("!a&b", "!a & b"),
        ("(a|b)", "(a | b)"),
        ("a - (b - c)", "a - (b - c)"),
        ("- - a", "--a"),
        ("TRUE", "TRUE"),
        ("é.1_x", "é.1_x"),
    ],
)
def test_deparse(text, expected):
    if expected is None and "[" in text:
        with pytest.raises(FormulaError):
            parse(text)
    elif expected is None:
        assert deparse(parse(text)) == "c(1e+05, 1e+05, 16, 1, 0.5, 1e-04, 123456)"
    else:
        assert deparse(parse(text)) == expected
        assert deparse(parse(expected)) == expected


@pytest.mark.parametrize(
    "loose, explicit",
    [
        ("a*b %in% c", "a*(b %in% c)"),
        ("a/b:c", "a/(b:c)"),
        ("a:b/c", "(a:b)/c"),
        ("-a:b", "(-a):b"),
        ("-a^2", "-(a^2)"),
        ("a^b^c", "a^(b^c)"),
        ("a - b - c", "(a - b) - c"),
        ("a + b | g", "(a + b) | g"),
        ("a == b & c", "(a == b) & c"),
        ("!a == b", "!(a == b)"),
        ("y ~ a | b", "y ~ (a | b)"),
        ("a %% b * c", "(a %% b) * c"),
    ],
)
def test_precedence(loose, explicit):
    def bare(text):
        return repr(strip(parse(text)))

    assert bare(loose) == bare(explicit)


def strip(node):
    """A tree without parentheses and positions."""
    args = getattr(node, "args", None)
    if args is None:
        return (type(node).__name__, deparse(node))
    if node.function == "(":
        return strip(args[0])
    return (node.function, [strip(arg) for arg in args])


@pytest.mark.parametrize(
    "text, labels, intercept",
    [
        ("a + b:c + d", "a d b:c", 1),
        ("c + a:c + b + a:b", "c b c:a a:b", 1),
        ("(a + b)/c", "a b a:b:c", 1),
        ("a/b/c", "a a:b a:b:c", 1),
        ("(a + b) %in% (c + d)", "a:c:d b:c:d", 1),
        ("(a + b + c)^2", "a b c a:b a:c b:c", 1),
        ("(a + b)^1000000", "a b a:b", 1),
        ("a^2", "a", 1),
        ("a*b - a:b", "a b", 1),
        ("a - b*a", "", 1),
        ("a*1", "a", 1),
        ("1*a", "", 1),
        ("0/a", "", 0),
        ("-a*b", "", 1),
        ("(1 + a)*b", "a b a:b", 1),
        ("a:1", "", 1),
        ("a %in% 1", "a", 1),
        ("(a - a) + b", "b", 1),
        ("a - 1", "a", 0),
        ("a + 0 + 1", "a", 1),
        ("a - 0", "a", 1),
        ("a - (b - 1)", "a", 1),
        ("0 - (-1)", "", 1),
        ("a*(b - 1)", "a b a:b", 0),
        ("(0 + a):b", "a:b", 0),
        ("0 + TRUE", "", 1),
        ("FALSE", "", 0),
        ("NULL + a", "a", 1),
        ("x:offset(z)", "", 1),
        ("(a + offset(z)):b", "a:b", 1),
        ("a + a + I(x) + I( x )", "a I(x)", 1),
        ("x > 0", "x > 0", 1),
    ],
)
def test_expand(text, labels, intercept):
    terms = expand(parse(text), text=text)
    # No label of the table but the last has a space inside.
    expected = [labels] if labels == "x > 0" else labels.split()
    assert list(terms.labels) == expected
    assert terms.intercept == bool(intercept)


def test_deleted_terms_stay_variables():
    terms = expand(parse("x + z - z + offset(w)"))
    assert terms.variables == ("x", "z", "offset(w)")
    assert terms.labels == ("x",)
    assert terms.offsets == (2,)


@pytest.mark.parametrize(
    "text, terms",
    [
        ("y ~ (x | g)", "x | g"),
        ("y ~ (1 | g/h)", "1 | h:g; 1 | g"),
        ("y ~ (1 | f/g/h)", "1 | h:(g:f); 1 | g:f; 1 | f"),
        ("y ~ (1 | f/(g:h))", "1 | (g:h):f; 1 | f"),
        ("y ~ (1 | a*b)", "1 | a; 1 | b; 1 | a:b"),
        ("y ~ (x || g)", "1 | g; 0 + x | g"),
        ("y ~ (0 + x || g)", "0 + x | g"),
        ("y ~ (1 || g)", "1 | g"),
        ("y ~ (a*b || g)", "1 | g; 0 + a | g; 0 + b | g; 0 + a:b | g"),
        ("y ~ (x || g/h)", "1 | h:g; 1 | g; 0 + x | h:g; 0 + x | g"),
        ("y ~ x*(1 | g)", "1 | g"),
        ("y ~ (x + (1 | g))", "1 | g"),
        ("y ~ ((1 | g))", "1 | g"),
        ("y ~ zerocorr(x | g/h)", "diag(x | h:g); diag(x | g)"),
        ("y ~ us(x | g) + diag(0 + x | h)", "x | g; diag(0 + x | h)"),
        ("y ~ (1 | factor(k)) + (1 | interaction(g, h))", None),
    ],
)
def test_bars(text, terms):
    found = parse_formula(text).random
    if terms is None:
        assert found == ("1 | factor(k)", "1 | interaction(g, h)")
    else:
        assert "; ".join(found) == terms


def test_stored_formula_is_expanded():
    parsed = parse_formula("Reaction ~ Days + (Days || Subject)")
    assert parsed.expanded == (
        "Reaction ~ Days + ((1 | Subject) + (0 + Days | Subject))"
    )
    again = parse_formula(parsed.expanded)
    assert again.random == parsed.random
    updated = revise(parsed.expanded, ". ~ . - (0 + Days | Subject)")
    assert updated == "Reaction ~ Days + (1 | Subject)"


def test_record_is_readable():
    parsed = parse_formula("log(y) ~ x*f + offset(w) - 1 + (x | g)")
    assert parsed.response == "log(y)"
    assert parsed.fixed == ("x", "f", "x:f")
    assert not parsed.intercept
    assert parsed.offsets == ("offset(w)",)
    assert parsed.variables == ("y", "x", "f", "w", "g")
    text = repr(parsed)
    assert "random     (x | g)" in text
    assert "fixed      0, x, f, x:f" in text


@pytest.mark.parametrize(
    "text, position, words",
    [
        ("y", 0, "no ~"),
        ("", None, "empty"),
        ("   ", None, "empty"),
        ("y ~", 3, "too early"),
        ("y ~ x +", 7, "too early"),
        ("y ~ x ~ z", 0, "more than one ~"),
        ("y ~ (x", 4, "never closed"),
        ("y ~ x)", 5, "Unexpected ')'"),
        ("y = x", 2, "Write ~"),
        ("y ~ x[1]", 5, "Unexpected character '['"),
        ("y ~ d$x", 5, "Unexpected character '$'"),
        ("y ~ _x", 4, "backticks"),
        ("y ~ 'abc", 4, "Close the quotation mark"),
        ("y ~ `abc", 4, "Close the backtick"),
        ("y ~ x %foo% z", 6, "%in%"),
        ("y ~ x + 2", 8, "number 2"),
        ("y ~ 'a' + x", 4, "string"),
        ("y ~ x^1", 6, "power"),
        ("y ~ x^z", 6, "power"),
        ("y ~ x^1e400", 6, "power"),
        ("y ~ a < b < c", 10, "Join two comparisons"),
        ("y ~ x2|ff + x1", 4, "parentheses"),
        ("y ~ x + (1 | g + h)", 13, "Invalid grouping factor specification, g + h"),
        ("y ~ (1 | g %in% h)", 9, "Invalid grouping"),
        ("y ~ (1 | 1)", 9, "Invalid grouping"),
        ("y ~ (x | g | h)", 5, "more than one bar"),
        ("y ~ ((1 | g) | h)", 5, "cannot stand here"),
        ("y ~ x - (1 | g)", 8, "subtracted"),
        ("y ~ x > 0 + (1 | g)", 4, "reaches over"),
        ("y ~ (. | g)", 5, "dot"),
        ("y ~ (0 || g)", 5, "Nothing is left"),
        ("y ~ (x + offset(z) | g)", 9, "offset"),
        ("y ~ zerocorr(x | g, 2)", 4, "more than a random term"),
        ("1 ~ x", 0, "response is a number"),
        (". ~ x", 0, "response is a dot"),
        ("y ~ f(x)(z)", 8, "Unexpected '('"),
        ("y ~ lambda(x)", 4, "Programs"),
        ("y ~ x + NA", 8, "NA is not a term"),
        ("y ~ x + (1, g)", 10, "Terms are added with +"),
        ("y ~ 'x y' + (1 | g)", 4, "backticks"),
    ],
)
def test_errors_point_at_the_place(text, position, words):
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    message = str(caught.value)
    assert words in message
    assert caught.value.position == position
    if position is not None:
        *_, line, caret = message.split("\n")
        assert caret.index("^") - 2 == position
        assert line[2:].rstrip() == text.rstrip()


@pytest.mark.parametrize("text", [None, 5, b"y ~ x", ["y ~ x"]])
def test_formula_must_be_text(text):
    with pytest.raises(DataTypeError, match="type"):
        parse_formula(text)


def test_minus_after_a_bar_removes_the_intercept():
    parsed = parse_formula("y ~ (1 | g) - 1")
    assert not parsed.intercept
    assert "R loses the minus" in parsed.warnings[0]
    assert not parse_formula("y ~ x + (1 | g) - 1").warnings
    assert not parse_formula("y ~ 0 + (1 | g)").warnings


def test_a_power_of_one_variable_is_said_to_be_vain():
    parsed = parse_formula("y ~ x^2 + I(x^2) + (a + b)^2 + (log(z)^2 | g)")
    assert parsed.fixed == ("x", "I(x^2)", "a", "b", "a:b")
    assert [message.split(":")[0] for message in parsed.warnings] == [
        "x^2 is x alone",
        "log(z)^2 is log(z) alone",
    ]


# --- limits -----------------------------------------------------------

DATA = {
    "y": np.arange(12.0) % 5,
    "x": np.linspace(-1, 1, 12),
    "z": np.linspace(1, 4, 12),
    "f": list("abc") * 4,
    "g": [1, 1, 2, 2, 3, 3] * 2,
    "b": [True, False] * 6,
}


def test_long_sums_are_read():
    names = [f"v{i}" for i in range(2000)]
    parsed = parse_formula("y ~ " + " + ".join(names) + " + (1 | g)")
    assert len(parsed.fixed) == 2000


@pytest.mark.parametrize(
    "text",
    [
        "y ~ " + "(" * 5000 + "x" + ")" * 5000,
        "y ~ " + "-" * 5000 + "x",
        "y ~ " + "I(" * 300 + "x" + ")" * 300,
        "y ~ " + "a*" * 200 + "b",
        "y ~ " + "a^" * 200 + "2",
        "y ~ x" + " - x" * 300,
    ],
)
def test_depth_is_limited(text):
    with pytest.raises(FormulaError, match=f"more than {MAX_DEPTH} levels"):
        parse_formula(text)


def test_length_is_limited():
    assert deparse(parse("x" * MAX_LENGTH)) == "x" * MAX_LENGTH
    with pytest.raises(FormulaError, match="characters"):
        parse_formula("y ~ " + "x" * MAX_LENGTH)


@pytest.mark.parametrize(
    "text",
    [
        "y ~ (" + " + ".join("abcdefghijklmnopqrstuvwxz") + ")^9",
        "y ~ " + "*".join("abcdefghijklmnop"),
        "y ~ (a+b+c+d+e+h)^9:(i+j+k+l+m+n)^9:(p+q+r+s+t)^5",
        "y ~ " + " + ".join(f"v{i}" for i in range(6000)),
        "y ~ (" + "*".join("abcdefghijklmnop") + " | g)",
    ],
)
def test_number_of_terms_is_limited(text):
    with pytest.raises(FormulaError, match="too many terms"):
        parse_formula(text)


def test_number_of_columns_is_limited():
    rng = np.random.default_rng(1)
    data = {name: rng.integers(0, 200, 500).astype(str) for name in "abc"}
    data["y"] = rng.normal(size=500)
    with pytest.raises(FormulaError, match="columns"):
        build_design("y ~ a:b + (1 | c)", data)


def test_shared_prefix_of_many_unknown_names_is_quick():
    text = "y ~ " + " + ".join(f"unknown_{i}" for i in range(3000))
    with pytest.raises(FormulaError, match=r"unknown_0.*, \.\.\."):
        build_design(text, DATA, random="allow")


# --- nothing but a design or a FormulaError ---------------------------------------

HOSTILE = [
    '__import__("os").system("true")',
    'y ~ I(__import__("os").getpid() + x)',
    "y ~ x.__class__.__bases__[0].__subclasses__()",
    "y ~ (lambda: 1)() + x",
    "y ~ eval('1') + x",
    "y ~ exec(`x`)",
    "y ~ I(x); import os",
    "y ~ open('/etc/passwd')",
    "y ~ I(np.random.seed(0))",
    "y ~ system('ls') + (1 | g)",
    "y ~ I(x, fit = FUNCTIONS) + `__class__`",
    "y ~ getattr(x, '__dict__')",
    "y ~ I(1:1e12) + x",
    "y ~ poly(x, 1e9)",
    "y ~ bs(x, df = 1e8)",
    "y ~ {x}",
    "y ~ x\x00 + (1 | g)",
    "y ~ get('x') + do.call('log', x)",
    "y ~ globals() + (1 | g)",
    "y ~ %s%n + (1|g)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings(text):
    with pytest.raises(FormulaError):
        build_design(text, DATA, random="allow")


TOKENS = [
    *"yxzfgb",
    *(name for name in FUNCTIONS if name[0].isalpha()),
    *"+-*/:^|!&<>=~,.()",
    *["%in%", "||", "==", "(1|g)", "y ~", "c(1, 2)", "'a'", '"b"', "TRUE", "NULL"],
    *["0", "1", "2", "-1", "1e5", "1e400", "0x1F", "2L", "degree =", "`a b`", "\n"],
]


def design_or_error(text):
    try:
        design = build_design(text, DATA, random="allow")
        design.new(DATA)
        assert design.Zt.shape[1] == design.nobs
    except LMEError as error:
        assert str(error)
        if isinstance(error, FormulaError) and error.position is not None:
            assert 0 <= error.position <= max(len(error.text), 1)


@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
@settings(max_examples=300, deadline=5000)
@given(st.text(max_size=60))
def test_any_text(text):
    design_or_error(text)


@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
@settings(max_examples=700, deadline=5000)
@given(st.lists(st.sampled_from(TOKENS), max_size=14))
def test_any_tokens(tokens):
    design_or_error("y ~ " + " ".join(tokens))


def calls(children):
    functions = st.sampled_from([name for name in FUNCTIONS if name[0].isalpha()])
    return st.builds(
        lambda name, args: f"{name}({', '.join(args)})",
        functions,
        st.lists(children, max_size=3),
    )


@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
@settings(max_examples=700, deadline=5000)
@given(
    st.recursive(
        st.sampled_from([*"yxzfgb", "1", "3", "c(1, 2)", "'a'", "TRUE", "NULL"]),
        calls,
        max_leaves=6,
    ),
    st.sampled_from(["", " + (1 | g)", " + ({} | g)", " + (1 | {})", ":x - 1"]),
)
def test_any_calls(call, rest):
    design_or_error(f"y ~ {call}" + rest.format(call))


@pytest.mark.parametrize(
    "text, place, remedy",
    [
        ("y x + (1 | g)", 2, "operator such as ~"),
        ("y ~ x + (| g)", 9, r"such as \(1 \| g\)"),
        ("y ~ x + (1 ||| g)", 13, r"such as \(1 \| g\)"),
        ("y ~ x + * z", 8, "Expected a name"),
        ("y \u223c x + (1 | g)", 2, "Type ~ instead"),
        ("y ~ x + (1 \u2223 g)", 11, r"Type \| instead"),
    ],
)
def test_every_unexpected_character_comes_with_a_remedy(text, place, remedy):
    with pytest.raises(FormulaError, match=remedy) as caught:
        parse(text)
    assert caught.value.position == place


@pytest.mark.parametrize("name", ["NA", "NaN", "Inf"])
def test_missing_and_infinite_constants_are_no_terms(name):
    with pytest.raises(FormulaError, match="Terms are columns") as caught:
        parse_formula(f"y ~ {name} + (1 | g)")
    assert caught.value.position == 4


def test_a_change_of_a_formula_is_text():
    with pytest.raises(DataTypeError, match="of type int"):
        revise("y ~ x + (1 | g)", 3)
