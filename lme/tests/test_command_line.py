"""``python -m lme``: models from the shell, and errors without tracebacks."""

import gzip
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import lme
from lme.command_line import demonstrate, read_table, run
from lme.errors import DataError
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "sleep.csv"
    data("sleepstudy").to_csv(path, index=False)
    return path


def shown(capsys, *arguments):
    status = run([str(each) for each in arguments])
    found = capsys.readouterr()
    assert status == 0, found.err
    return found.out


def failed(capsys, *arguments):
    """The one message of a command that fails."""
    try:
        status = run([str(each) for each in arguments])
    except SystemExit as stop:
        status = stop.code
    found = capsys.readouterr()
    assert status in (1, 2)
    assert found.err.startswith("error: ") and "Traceback" not in found.err
    return found.err


# --- what it prints -----------------------------------------------------------------


def test_summary(capsys, table):
    out = shown(capsys, SLEEP, table)
    expected = lme.lmer(SLEEP, read_table(str(table))).fit().summary().as_text()
    assert out.rstrip() == expected
    assert "Data:     sleep.csv" in out and "1743.6283" in out


@pytest.mark.parametrize(
    "ending, write",
    [
        ("tsv", lambda frame, path: frame.to_csv(path, sep="\t", index=False)),
        ("csv.gz", lambda frame, path: frame.to_csv(path, index=False)),
        ("txt", lambda frame, path: frame.to_csv(path, sep="\t", index=False)),
        ("CSV", lambda frame, path: frame.to_csv(path, index=False)),
        ("parquet", lambda frame, path: frame.to_parquet(path)),
    ],
)
def test_kinds_of_files(capsys, tmp_path, ending, write):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"sleep.{ending}"
    write(data("sleepstudy"), path)
    assert "1743.6283" in shown(capsys, SLEEP, path)


def test_data_sets_by_name(capsys):
    out = shown(capsys, CBPP, "cbpp", "--family", "binomial", "--nAGQ", "9")
    res = lme.glmer(CBPP, lme.datasets.load("cbpp"), family="binomial").fit(nAGQ=9)
    assert f"{res.objective:.4f}" in out and "9 nodes" in out
    assert "probit link" in shown(
        capsys, CBPP, "cbpp", "--family", "binomial", "--link", "probit"
    )


def test_criterion(capsys):
    assert "1751.9393" in shown(capsys, SLEEP, "sleepstudy", "--ml")
    assert "1743.6283" in shown(capsys, SLEEP, "sleepstudy", "--REML")


def test_options_of_the_tests(capsys):
    out = shown(capsys, SLEEP, "sleepstudy", "--ddf", "z", "--level", "0.9")
    assert "tests by z" in out and "[0.05 " in out and " 0.95]" in out
    assert "Kenward" in shown(capsys, SLEEP, "sleepstudy", "--ddf", "kenward-roger")


def test_weights_offset_subset_and_factor(capsys):
    arguments = ["Reaction ~ Days + (1 | Subject)", "sleepstudy"]
    arguments += ["--weights", "1 + Days", "--offset", "Days", "--subset", "Days > 1"]
    frame = data("sleepstudy")
    res = lme.lmer(
        arguments[0], frame, weights="1 + Days", offset="Days", subset="Days > 1"
    ).fit()
    assert f"{res.objective:.4f}" in shown(capsys, *arguments)
    out = shown(capsys, arguments[0], "sleepstudy", "--factor", "Days")
    assert "Days9" in out


def test_anova(capsys):
    simple = "Reaction ~ Days + (1 | Subject)"
    out = shown(capsys, simple, "sleepstudy", "--anova", SLEEP)
    assert "model1: Reaction ~ Days + (1 | Subject)" in out
    assert "42.14" in out  # lme4's likelihood ratio
    out = shown(capsys, SLEEP, "sleepstudy", "--anova", ". ~ . - Days", "--ml")
    assert "model2: Reaction ~ (Days | Subject)" in out


def test_json(capsys, tmp_path):
    path = tmp_path / "out.json"
    simple = "Reaction ~ Days + (1 | Subject)"
    arguments = [simple, "sleepstudy", "--anova", SLEEP, "--level", "0.9"]
    assert "Linear mixed model" in shown(capsys, *arguments, "--json", path)
    found = json.loads(path.read_text())
    res = lme.lmer(simple, data("sleepstudy")).fit()
    fixed = found["estimates"][1]
    assert fixed["term"] == "Days" and fixed["effect"] == "fixed"
    assert fixed["estimate"] == pytest.approx(res.params["Days"], rel=1e-12)
    low, high = res.conf_int(alpha=0.1).loc["Days"]
    assert [fixed["conf.low"], fixed["conf.high"]] == pytest.approx([low, high])
    assert found["fit"]["REMLcrit"] == pytest.approx(res.objective)
    assert [row["npar"] for row in found["anova"]] == [4, 6]
    assert found["formula"] == simple and found["warnings"] == []
    only = shown(capsys, *arguments, "--json", "-")
    assert json.loads(only) == found


def test_save(capsys, tmp_path):
    path = tmp_path / "fit.json"
    shown(capsys, SLEEP, "sleepstudy", "--save", path)
    from lme.restoration import restore_fit

    assert restore_fit(path, data("sleepstudy")).converged
    # A command that is run again replaces its output.
    shown(capsys, SLEEP, "sleepstudy", "--save", path)


def test_plot(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    shown(capsys, SLEEP, "sleepstudy", "--plot", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "cannot be written" in failed(
        capsys, SLEEP, "sleepstudy", "--plot", tmp_path / "no" / "plot.png"
    )
    assert "cannot be written" in failed(
        capsys, SLEEP, "sleepstudy", "--plot", tmp_path / "plot.xyz"
    )


def test_warnings_are_lines(capsys, tmp_path):
    frame = data("sleepstudy").assign(Twice=lambda d: 2 * d["Days"])
    path = tmp_path / "x.csv"
    frame.to_csv(path, index=False)
    assert run(["Reaction ~ Days + Twice + (1 | Subject)", str(path)]) == 0
    found = capsys.readouterr()
    assert found.err.count("warning: ") == 1 and "rank deficient" in found.err


def test_demonstration_uses_the_command(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f'$ python -m lme "{SLEEP}" sleepstudy')
    assert "1743.6283" in out and "What to try next" in out
    assert demonstrate() == 0


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        run(["--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and "examples:" in out
    for option in ("--family", "--anova", "--plot", "--json", "--nAGQ", "--ml"):
        assert option in out
    with pytest.raises(SystemExit):
        run(["--version"])
    assert lme.__version__ in capsys.readouterr().out


def test_as_a_program(table):
    """The status, the streams, and a reader that stops early."""
    command = [sys.executable, "-m", "lme", SLEEP]
    bad = subprocess.run([*command, "nothing.csv"], capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stdout == ""
    assert bad.stderr.startswith("error: There is no file 'nothing.csv'")
    good = subprocess.run(
        [*command, str(table)],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert good.returncode == 0 and b"1743.6283" in good.stdout


# --- what it refuses ----------------------------------------------------------------

FILES = {
    "empty.csv": b"",
    "blank.csv": b"\n\n\n",
    "head.csv": b"y,x,g\n",
    "binary.csv": bytes(range(256)) * 20,
    "binary.parquet": bytes(range(256)) * 20,
    "not.csv.gz": b"plain",
    "cut.csv.gz": gzip.compress(b"y,x,g\n" + b"1,2,a\n" * 1000)[:40],
    "huge.csv": b"y,x,g\n"
    + b"".join(b"%de300,%d,%d\n" % (i, i % 3, i % 5) for i in range(30)),
    "infinite.csv": b"y,x,g\n" + b"1e400,1,2\n" * 30,
    "ragged.csv": b"y,x,g\n1,2,a\n1,2,3,4,5\n",
    "semicolons.csv": b"y;x;g\n1;2;a\n",
    "tabs.csv": b"y\tx\tg\n1\t2\ta\n",
    "utf16.csv": "y,x,g\n1,2,ä\n".encode("utf-16"),
    "latin.csv": "y,x,g\n1,2,ä\n".encode("latin1"),
    "words.csv": b"y,x,g\n" + b"a,1,2\nb,2,3\n" * 9,
    "missing.csv": b"y,x,g\n" + b"NA,1,2\nNA,2,3\n" * 9,
    "constant.csv": b"y,x,g\n" + b"1,1,2\n1,2,3\n" * 9,
    "quote.csv": b'y,x,g\n"1,2,3\n',
    "table.xlsx": b"PK",
    "noending": b"y,x,g\n1,2,3\n",
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_used(capsys, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    failed(capsys, "y ~ x + (1 | g)", path)


def test_paths_that_cannot_be_read(capsys, tmp_path):
    assert "Did you mean 'sleepstudy'" in failed(capsys, SLEEP, "sleepstdy")
    assert "is a directory" in failed(capsys, SLEEP, tmp_path)
    for name in ("", "a\0b", "x" * 5000, str(tmp_path / "no" / "x.csv")):
        assert "no file" in failed(capsys, SLEEP, name)
    (tmp_path / "sleep.csv").write_text("")
    near = failed(capsys, SLEEP, tmp_path / "slep.csv")
    assert "sleep.csv" in near


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], "required"),
        (["extra"], "unrecognized"),
        (["--famly", "x"], "unrecognized"),
        (["--REML", "--ml"], "not allowed"),
        (["--nAGQ", "a"], "invalid int"),
        (["--level", "a"], "invalid float"),
        (["--level", "2"], "between 0 and 1"),
        (["--level", "nan"], "between 0 and 1"),
        (["--nAGQ", "3"], "goes with --family"),
        (["--link", "log"], "goes with --family"),
        (["--family", "poisson", "--REML"], "linear models"),
        (["--family", "nope"], "Unknown family"),
        (["--family", "gamma", "--nAGQ", "300"], "At most 100"),
        (["--ddf", "nope"], "ddf='nope'"),
        (["--weights", "nope"], "no column 'nope'"),
        (["--subset", "Days >"], "cannot be read"),
        (["--factor", "days"], "Did you mean 'Days'"),
        (["--anova", "Reaction ~ x + (1 | Subject)"], "no column 'x'"),
        (["--anova", "Days ~ 1 + (1 | Subject)"], "different responses"),
        (["--json", "/no/such/folder/x.json"], "cannot be written"),
        (["--json", "/"], "cannot be written"),
        (["--save", "/no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_arguments_that_cannot_be(capsys, arguments, expected):
    given = [SLEEP] if not arguments else [SLEEP, "sleepstudy", *arguments]
    assert expected in failed(capsys, *given)


@pytest.mark.parametrize(
    "formula",
    [
        "",
        "y",
        "((((",
        "Reaction ~ Days",
        "Reaction ~ nope + (1 | Subject)",
        "__import__('os').system('true') ~ (1 | Subject)",
        "Reaction ~ " + "(" * 3000 + "Days" + ")" * 3000 + " + (1 | Subject)",
        "Reaction ~ Days + (1 | Subject",
        "Reaction ~ é + (1 | Subject)",
    ],
)
def test_formulas_that_cannot_be(capsys, formula):
    failed(capsys, formula, "sleepstudy")


def test_reading_changes_nothing(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,x\n2,y\n")
    frame = read_table(str(path))
    assert frame["a"].tolist() == [1, 2] and frame.attrs["name"] == "x.csv"
    assert np.array_equal(read_table("cake").columns, lme.datasets.load("cake").columns)
    with pytest.raises(DataError, match="semicolons"):
        path.write_text("a;b\n1;x\n")
        read_table(str(path))


def test_one_column_is_a_table(capsys, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Reaction\n1\n2\n")
    assert read_table(str(path))["Reaction"].tolist() == [1, 2]
    assert "no columns 'Days', 'Subject'" in failed(capsys, SLEEP, path)


def test_what_is_missing_is_named(capsys, tmp_path, monkeypatch):
    def absent(*_):
        raise ImportError("No module named 'pyarrow'")

    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr("pandas.read_parquet", absent)
    found = failed(capsys, SLEEP, tmp_path / "x.parquet")
    assert "pyarrow is not installed" in found and "save the table as .csv" in found

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("lme.command_line.program._fit_and_report", full)
    assert "does not fit into memory" in failed(capsys, SLEEP, "sleepstudy")


def test_figures_that_cannot_be_drawn(capsys, tmp_path, monkeypatch):
    """What the package says of a figure is not taken for a failure to write it."""

    def refused(self):
        raise lme.errors.OptionError("There is nothing to draw.")

    monkeypatch.setattr(lme.results.linear.LMMResults, "plot_diagnostics", refused)
    found = failed(capsys, SLEEP, "sleepstudy", "--plot", tmp_path / "x.png")
    assert found.startswith("error: There is nothing to draw.")


def test_warnings_of_others_are_not_ours(capsys, monkeypatch):
    """Lines on the error stream are what the package has to say, each once."""

    def noisy(options):
        for _ in range(2):
            warnings.warn("deprecated", FutureWarning, stacklevel=1)
            warnings.warn("look at this", lme.LMEWarning, stacklevel=1)

    monkeypatch.setattr("lme.command_line.program._fit_and_report", noisy)
    assert run([SLEEP, "sleepstudy"]) == 0
    assert capsys.readouterr().err == "warning: look at this\n"
