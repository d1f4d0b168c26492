"""Ctrl-C: in fits, in questions to results, and in bootstraps that go on elsewhere."""

import _thread
import gc
import linecache
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_info, threadpool_limits

import lme
from lme.engine import threads
from lme.engine.cholmod import Cholmod
from lme.engine.pirls import Pirls
from lme.errors import ConvergenceWarning
from lme.inference.bootstrap import draws, refitting, resampling
from lme.partitions import store
from lme.tests.test_parallel_use import (
    crossed,
    herds,
    long_frame,
    numbers,
    same,
    sleepstudy,
)


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """Jobs in the background of a shell ignore Ctrl-C; these tests send it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_after(seconds):
    """Ctrl-C for the main thread, as the terminal would send it, once it is started."""
    return threading.Timer(seconds, _thread.interrupt_main)


def test_an_interrupted_fit_leaves_nothing_behind():
    model = lme.lmer("y ~ x + (x | g) + (x | h)", long_frame())
    before = [pool["num_threads"] for pool in threadpool_info()]
    timer = interrupt_after(0.3)
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        while time.perf_counter() - began < 30.0:
            model.fit(control={"max_evaluations": 6})
    timer.join()
    assert time.perf_counter() - began < 20.0
    assert [pool["num_threads"] for pool in threadpool_info()] == before
    again = sleepstudy().fit()
    assert again.objective == pytest.approx(1743.628271958491, abs=1e-6)


@pytest.fixture
def two_threads():
    with threadpool_limits(2):
        yield


def test_limits_of_threads_are_given_back_from_any_line(two_threads):
    """The interrupt comes before each line that sets or takes away the limit."""
    before = [pool["num_threads"] for pool in threadpool_info()]
    outer, count, seen = sys.gettrace(), 0, set()

    def trace(frame, event, _):
        nonlocal count
        code = frame.f_code
        if code.co_filename != threads.__file__ or code.co_name == "__del__":
            return None
        place = (code.co_name, frame.f_lineno)
        text = linecache.getline(code.co_filename, frame.f_lineno)
        # No signal is heard between the end of a block and the release of its lock.
        if event == "line" and text.strip().startswith("with") and place in seen:
            return trace
        seen.add(place)
        count -= 1
        if not count:
            raise KeyboardInterrupt
        return trace

    for number in range(1, 500):
        count, ended = number, False
        seen.clear()
        sys.settrace(trace)
        try:
            with threads.suited_threads([400, 300]):
                ended = True
        except KeyboardInterrupt:
            ended = False
        finally:
            sys.settrace(outer)
        found = [pool["num_threads"] for pool in threadpool_info()]
        assert found == before, number
        with ThreadPoolExecutor(1) as pool:
            free = pool.submit(threads._STATE.lock.acquire, timeout=5.0).result()
            assert free, number
            pool.submit(threads._STATE.lock.release).result()
        if ended and count > 0:
            break
    assert number > 10
    with threads.suited_threads([400, 300]):
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.filterwarnings("ignore::lme.errors.ConvergenceWarning")
def test_an_interrupted_question_can_be_asked_again():
    """At any moment: the criterion of a result must not stay half way."""
    model = sleepstudy()
    expected = model.fit().profile().confint().to_numpy(float)
    res = model.fit()
    for seconds in (0.002, 0.01, 0.03):
        timer = interrupt_after(seconds)
        try:
            timer.start()
            while timer.is_alive():
                res.profile()
            time.sleep(0.05)
        except KeyboardInterrupt:
            pass
        timer.join()
    assert_allclose(res.profile().confint().to_numpy(float), expected, rtol=1e-12)


def interrupting_at(call, number):
    """A function that is interrupted amid its call of this number, and counts them."""
    calls = []

    def wrapped(*given, **options):
        calls.append(1)
        if len(calls) == number:
            _thread.interrupt_main()
        return call(*given, **options)

    return wrapped, calls


def counted(rows=600):
    """Counts by two crossed factors with many levels each."""
    frame = long_frame().head(rows)
    mean = np.exp(0.3 * frame.x + 0.5 * frame.y)
    frame = frame.assign(k=np.random.default_rng(2).poisson(mean))
    return lme.glmer("k ~ x + (1 | g) + (1 | h)", frame, family="poisson")


def neighbours(levels=1_500, rows=4_000):
    """Two factors whose levels meet few others: work for sparse factorizations."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": rng.integers(0, levels, rows)})
    frame["h"] = (frame.g + rng.integers(0, 3, rows)) % levels
    frame["x"] = rng.standard_normal(rows)
    u, v = rng.standard_normal((2, levels))
    eta = 0.3 * frame.x + 0.5 * (u[frame.g] + v[frame.h])
    frame["y"] = eta + rng.standard_normal(rows)
    frame["k"] = rng.poisson(np.exp(eta))
    return frame


def crossed_linear():
    return crossed(60, 400)


def sparse_linear():
    return lme.lmer("y ~ x + (1 | g) + (1 | h)", neighbours())


def sparse_counts():
    formula = "k ~ x + (1 | g) + (1 | h)"
    return lme.glmer(formula, neighbours(), family="poisson")


@pytest.mark.parametrize(
    ("make", "engine", "method"),
    [
        (herds, Pirls, "solve"),
        (counted, Pirls, "solve"),
        (sparse_linear, Cholmod, "factor"),
        (sparse_counts, Cholmod, "factor"),
        (sparse_counts, Cholmod, "adjoint"),
    ],
    ids=["herds", "counts", "cholmod-linear", "cholmod-counts", "cholmod-gradient"],
)
def test_an_interrupt_inside_a_fit(make, engine, method, monkeypatch):
    """At an early and at a late step; the model can be fitted again."""
    if engine is Cholmod:
        pytest.importorskip("sksparse")
    model = make()
    real = getattr(engine, method)
    step, calls = interrupting_at(real, 0)
    monkeypatch.setattr(engine, method, step)
    alone = model.fit()
    assert len(calls) > 2, "the fit does not go through this step"
    limits = [pool["num_threads"] for pool in threadpool_info()]
    for number in sorted({2, len(calls) - 1}):
        step, _ = interrupting_at(real, number)
        monkeypatch.setattr(engine, method, step)
        with pytest.raises(KeyboardInterrupt):
            model.fit()
        assert [pool["num_threads"] for pool in threadpool_info()] == limits
    monkeypatch.setattr(engine, method, real)
    again = model.fit()
    assert again.objective == alone.objective
    for name in ("theta", "params", "fittedvalues"):
        assert_array_equal(getattr(again, name), getattr(alone, name), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("make", [herds, sparse_counts], ids=lambda m: m.__name__)
def test_an_interrupt_at_any_moment_of_a_generalized_fit(make):
    if make is sparse_counts:
        pytest.importorskip("sksparse")
    model = make()
    began = time.perf_counter()
    alone = numbers(model.fit())
    took = time.perf_counter() - began
    limits = [pool["num_threads"] for pool in threadpool_info()]
    heard = 0
    for seconds in np.random.default_rng(4).uniform(0.0, took, 12):
        timer = interrupt_after(seconds)
        try:
            timer.start()
            model.fit()
            timer.join()
            time.sleep(0.05)
        except KeyboardInterrupt:
            heard += 1
        timer.join()
        assert [pool["num_threads"] for pool in threadpool_info()] == limits
    assert heard == 12
    same(numbers(model.fit()), alone)


# --- bootstraps -----------------------------------------------------------------------


def interrupted_bootstrap(res, monkeypatch, place, name, number, **options):
    """What is left of a long bootstrap after Ctrl-C at a call of this number."""
    step, _ = interrupting_at(getattr(place, name), number)
    monkeypatch.setattr(place, name, step)
    with pytest.warns(ConvergenceWarning, match="was interrupted after"):
        part = res.bootstrap(2_000, workers=1, progress=False, **options)
    monkeypatch.undo()
    return part


@pytest.mark.parametrize(
    ("make", "kind", "place", "name", "number", "done"),
    [
        # One by one, nothing that was finished is lost; together, the block is.
        (herds, "parametric", refitting, "refit_generalized", 4, 3),
        (herds, "parametric", refitting, "refit_generalized", 7, 6),
        (sleepstudy, "cases", draws, "_refit_rows", 7, 6),
        (sleepstudy, "parametric", resampling, "run", 2, 1024),
        # As a sum is cut elsewhere otherwise.
        (crossed_linear, "parametric", refitting, "search_linear", 25, 16),
    ],
    ids=["first-block", "second-block", "rows", "together", "crossed"],
)
def test_an_interrupted_bootstrap_goes_on(
    make, kind, place, name, number, done, monkeypatch, tmp_path
):
    """From a file, to the replicates of a run without interrupts."""
    monkeypatch.setattr(resampling, "_ALONE", 4 if done < 16 else 32)
    res, options = make().fit(), {"kind": kind, "seed": 8}
    part = interrupted_bootstrap(res, monkeypatch, place, name, number, **options)
    assert len(part) == done
    part.save(tmp_path / "part.npz")
    loaded = lme.Bootstrap.load(tmp_path / "part.npz")
    rest = res.bootstrap(done + 5, resume=loaded, workers=1, progress=False)
    whole = res.bootstrap(done + 5, workers=1, progress=False, **options)
    assert rest.seed == whole.seed
    for each in ("values", "theta", "objective", "singular", "reason"):
        assert_array_equal(getattr(rest, each), getattr(whole, each), err_msg=each)


def test_an_interrupt_before_the_first_replicate_is_raised(monkeypatch):
    res = herds().fit()
    begun = res.bootstrap(2, seed=8, workers=1, progress=False)
    step, _ = interrupting_at(refitting.refit_generalized, 1)
    monkeypatch.setattr(refitting, "refit_generalized", step)
    with pytest.raises(KeyboardInterrupt):
        res.bootstrap(2_000, seed=8, workers=1, progress=False)
    # With replicates to go on from there is something to return.
    step, _ = interrupting_at(refitting.refit_generalized, 1)
    monkeypatch.setattr(refitting, "refit_generalized", step)
    with pytest.warns(ConvergenceWarning, match="after 2 of 2000"):
        part = res.bootstrap(2_000, resume=begun, workers=1, progress=False)
    assert_array_equal(part.values, begun.values)


def test_between_processes_an_interrupt_carries_nothing():
    """A worker may be told too; its replicates are not the first ones."""
    stop = refitting.Interrupted([])
    assert type(pickle.loads(pickle.dumps(stop))) is KeyboardInterrupt


_WORKERS = """
import signal, sys, warnings
import numpy as np
import lme
from lme.inference.bootstrap import resampling
from lme.partitions import store
from lme.tests.test_parallel_use import herds

signal.signal(signal.SIGINT, signal.default_int_handler)
real = resampling._refits

def told(*given):
    for number, part in enumerate(real(*given)):
        if number == 1:  # the first one is kept
            print("part", flush=True)
        yield part

resampling._refits = told
res = herds().fit()
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    part = res.bootstrap(20_000, seed=8, workers=2, progress=False)
print("kept", len(part), *{type(w.message).__name__ for w in heard}, flush=True)
part.save(sys.argv[1])
assert sys.stdin.readline() == "go on\\n"
again = res.bootstrap(len(part), seed=8, workers=2, progress=False)
print("same" if np.array_equal(again.values, part.values) else "other", flush=True)
"""


def members(group):
    """Processes of a group that have not ended, with their command lines."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, own = (
                place.joinpath("stat").read_text().rsplit(")", 1)[1].split()[:3]
            )
            command = place.joinpath("cmdline").read_text()
        except OSError:
            continue
        if int(own) == group and state not in "ZX":
            found[int(place.name)] = command
    return found


def all_ended(numbers, group, seconds=20.0):
    """Whether none of these processes is left, at once or soon."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not numbers & members(group).keys():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes of Linux")
@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["terminal", "one-process"])
def test_an_interrupted_bootstrap_on_workers(send, tmp_path):
    """Told to all processes, as a terminal does, or to the one that was started."""
    path = tmp_path / "part.npz"
    child = subprocess.Popen(
        [sys.executable, "-c", _WORKERS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    group = child.pid
    guard = threading.Timer(120.0, os.killpg, (group, signal.SIGKILL))
    guard.start()
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "part\n"
        running = members(group)
        workers = {n for n, command in running.items() if "LokyProcess" in command}
        assert len(workers) == 2
        send(group, signal.SIGINT)
        lines = iter(child.stdout.readline, "")
        kept = next(line for line in lines if line.startswith("kept"))
        # They stop amid their work, not at its end.
        assert all_ended(workers, group)
        out, err = child.communicate("go on\n", timeout=100)
        assert out.endswith("same\n")
        assert "Traceback" not in err
        assert child.returncode == 0
        assert all_ended(set(members(group)), group)
    finally:
        guard.cancel()
        guard.join()
        if members(group):
            os.killpg(group, signal.SIGKILL)
        child.communicate()
    # What the other process wrote is the beginning of the run, and goes on here.
    part = lme.Bootstrap.load(path)
    assert kept.split() == ["kept", str(len(part)), "ConvergenceWarning"]
    res = herds().fit()
    rest = res.bootstrap(len(part) + 8, resume=part, workers=1, progress=False)
    whole = res.bootstrap(len(part) + 8, seed=8, workers=1, progress=False)
    assert_array_equal(rest.values, whole.values)
    assert_array_equal(rest.objective, whole.objective)


# --- partitions -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3, 5], ids=["first-rows", "rows", "pairs"])
def test_an_interrupt_while_partitions_are_encoded(number, tmp_path, monkeypatch):
    """The files of a fit that did not come to be are removed, and made again."""
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({c: rng.integers(0, 12, 300) for c in "gh"})
    frame["k"] = rng.poisson(np.exp(0.3 * rng.standard_normal(12)[frame.g]))
    path, files = tmp_path / "rows.parquet", tmp_path / "files"
    frame.to_parquet(path, row_group_size=100)
    files.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(files))
    formula = "k ~ 1 + (1 | g) + (1 | h)"
    model = lme.glmer(formula, path, family="poisson")
    step, _ = interrupting_at(store.saved, number)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store, "saved", step)
        model.fit()
    gc.collect()
    assert not list(files.iterdir())
    again = model.fit().objective
    assert len(list(files.iterdir())) == 1
    inside = lme.glmer(formula, frame, family="poisson").fit().objective
    assert again == pytest.approx(inside, abs=1e-8)


# --- other processes ------------------------------------------------------------------


_LONG = """
import signal
import lme
signal.signal(signal.SIGINT, signal.default_int_handler)
frame = lme.datasets.load("cbpp").assign(y=lambda d: d.incidence / d["size"])
res = lme.glmer("y ~ period + (1 | herd)", frame, family="binomial", weights="size")
res = res.fit()
print("ready", flush=True)
try:
    while True:
        res.profile()
except KeyboardInterrupt:
    print("stopped", res.profile().confint().shape[0], flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_to_another_process_is_a_clean_interrupt():
    child = subprocess.Popen(
        [sys.executable, "-c", _LONG],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert out.startswith("stopped 5")
    assert "Traceback" not in err
    assert child.returncode == 0
