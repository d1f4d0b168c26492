"""The replicates of a bootstrap as a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.engine.batched import CONVERGED, REASONS
from lme.errors import DataError, OptionError
from lme.inference.bootstrap.intervals import intervals, percent_labels
from lme.inference.profile.parameters import choose_parameters
from lme.naming import Parameter

Array = NDArray[np.float64]

_FORMAT = 1
#: Fields with a row a replicate.
ARRAYS = ("values", "theta", "objective", "singular", "reason")
_TYPES = {"sd": "sigma", "cor": "rho", "sigma": "sigma", "theta": "theta"}


@dataclass(frozen=True, repr=False)
class Bootstrap:
    """Replicates of the estimates of a model.

    Attributes
    ----------
    kind, re_form, groups : str
        How the replicates were drawn; see `bootstrap.resampling.bootstrap`.
    formula : str
        Of the model.
    seed : tuple
        Entropy and key of the seed.
    parameters : tuple of Parameter
        What there is an interval for, in the order of the columns of `values`.
    places : tuple of (str, str)
        Group and columns of each parameter, for the long frame.
    theta_names, dropped : tuple of str
        Names of theta; columns of the fixed effects that were dropped, which are NaN
        in the frames.
    estimates : (m,) array
        From the data.
    values : (R, m) array
        From the replicates, on the same scales; NaN where a refit failed.
    theta : (R, k) array
    objective : (R,) array
        -2 log-likelihood, or the REML criterion.
    singular : (R,) bool array
        Whether a variance vanished or a correlation is 1 or -1.
    reason : (R,) int8
        Why a refit failed: an index in `lme.engine.batched.REASONS`; 0 is success.
    """

    kind: str
    re_form: str
    groups: str
    formula: str
    seed: tuple[Any, ...]
    parameters: tuple[Parameter, ...]
    places: tuple[tuple[str, str], ...]
    theta_names: tuple[str, ...]
    dropped: tuple[str, ...]
    estimates: Array
    values: Array
    theta: Array
    objective: Array
    singular: NDArray[np.bool_]
    reason: NDArray[np.int8]

    def __len__(self) -> int:
        return int(self.objective.size)

    def __repr__(self) -> str:
        text = f"Bootstrap of {self.formula!r}: {len(self)} {self.kind} replicates"
        if self.failures:
            text += f", {sum(self.failures.values())} failed"
        return f"{text}, {100 * self.singular_fraction:.3g} % singular"

    @property
    def names(self) -> list[str]:
        """Names of the parameters, as in `confint`."""
        return [each.name for each in self.parameters]

    @property
    def seed_sequence(self) -> np.random.SeedSequence:
        """The seed of the run, to go on from.

        Raises
        ------
        OptionError
            For runs that were put together.
        """
        if len(self.seed) != 2:
            raise OptionError(
                "The replicates come from several runs.",
                "One seed was expected.",
                "Go on with one of the runs before they are put together.",
            )
        entropy, key = self.seed
        return np.random.SeedSequence(entropy, spawn_key=key)

    @property
    def failures(self) -> dict[str, int]:
        """How many refits failed, by reason."""
        counts = np.bincount(self.reason, minlength=len(REASONS))
        return {
            reason: int(count)
            for i, (reason, count) in enumerate(zip(REASONS, counts, strict=True))
            if count and i != CONVERGED
        }

    @property
    def singular_fraction(self) -> float:
        """Share of singular fits among those that did not fail."""
        good = np.isfinite(self.objective)
        return float(self.singular[good].mean()) if good.any() else float("nan")

    @cached_property
    def wide(self) -> pd.DataFrame:
        """A row a replicate: every parameter, theta, the objective, the verdict."""
        columns: dict[str, Any] = dict(zip(self.names, self.values.T, strict=True))
        columns |= {name: np.full(len(self), np.nan) for name in self.dropped}
        thetas = zip(self.theta_names, self.theta.T, strict=True)
        columns |= {f"theta_{name}": column for name, column in thetas}
        columns |= {
            "objective": self.objective,
            "singular": self.singular,
            "converged": self.reason == CONVERGED,
        }
        return pd.DataFrame(columns, index=self._index())

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row a replicate and parameter.

        Columns ``iter`` (from 0), ``type`` ("beta", "sigma" for standard deviations,
        "rho" for correlations), ``group`` (the grouping factor, "residual" or
        missing), ``names`` and ``value``.
        """
        kinds = [_TYPES.get(each.kind, each.kind) for each in self.parameters]
        groups = [place[0] or None for place in self.places]
        names = [place[1] or None for place in self.places]
        values = self.values
        extra = len(self.dropped)
        if extra:
            kinds += ["beta"] * extra
            groups += [None] * extra
            names += list(self.dropped)
            values = np.hstack([values, np.full((len(self), extra), np.nan)])
        m = len(kinds)
        # Coefficients first, as MixedModels.jl has them.
        order = sorted(range(m), key=lambda i: kinds[i] != "beta")
        tiled = np.tile(np.arange(m), len(self))
        return pd.DataFrame(
            {
                "iter": np.repeat(np.arange(len(self)), m),
                "type": _repeated([kinds[i] for i in order], tiled),
                "group": _repeated([groups[i] for i in order], tiled),
                "names": _repeated([names[i] for i in order], tiled),
                "value": values[:, order].ravel(),
            }
        )

    def _index(self) -> pd.RangeIndex:
        return pd.RangeIndex(len(self), name="iter")

    def confint(
        self, kind: str = "percentile", level: float = 0.95, parm: Any = None
    ) -> pd.DataFrame:
        """Intervals of the parameters.

        Parameters
        ----------
        kind : {"percentile", "basic", "normal", "shortest"}
            See `lme.inference.bootstrap.intervals.intervals`.
        level : float
            Coverage between 0 and 1.
        parm : str or sequence of str, optional
            Parameters wanted; ``"beta_"`` for all fixed effects, ``"theta_"`` for the
            others.

        Returns
        -------
        DataFrame
            A row a parameter, columns such as ``2.5 %`` and ``97.5 %``. Failed refits
            are left out, and correlations of replicates in which a standard deviation
            is zero; dropped coefficients have no row.
        """
        chosen = choose_parameters(self.parameters, parm)
        values = intervals(self.values[:, chosen], self.estimates[chosen], kind, level)
        names = [self.parameters[i].name for i in chosen]
        return pd.DataFrame(values, index=names, columns=percent_labels(level))

    def summary(self) -> pd.DataFrame:
        """Estimate, mean, bias and standard error of every parameter."""
        with np.errstate(invalid="ignore"):
            frame = pd.DataFrame(self.values, columns=self.names)
        out = pd.DataFrame({"estimate": self.estimates}, index=self.names)
        out["mean"] = frame.mean()
        out["bias"] = out["mean"] - out["estimate"]
        out["std_error"] = frame.std(ddof=1)
        out["replicates"] = frame.notna().sum()
        return out

    def plot(self, **options: Any) -> Any:
        """Densities of the replicates; see `lme.report.plots.plot_bootstrap`."""
        from lme.report.plots import plot_bootstrap

        return plot_bootstrap(self, **options)

    # --- parts and wholes -----------------------------------------------------------

    def take(self, index: Any) -> Bootstrap:
        """The replicates that an index of NumPy chooses: a slice, a mask, numbers."""
        return replace(self, **{name: getattr(self, name)[index] for name in ARRAYS})

    def describes(self, other: Bootstrap) -> bool:
        """Whether two records hold the same quantities, drawn in the same way."""
        mine = (self.kind, self.re_form, self.groups, self.formula, self.names)
        return mine == (
            other.kind,
            other.re_form,
            other.groups,
            other.formula,
            other.names,
        )

    def __add__(self, other: Bootstrap) -> Bootstrap:
        """Independent runs, one after the other."""
        if not isinstance(other, Bootstrap):
            return NotImplemented
        if not self.describes(other):
            raise OptionError(
                "The two records are of different models or kinds of bootstrap.",
                f"They are {self!r} and {other!r}.",
            )
        if self.seed == other.seed:
            raise OptionError(
                "Both runs have the same seed, and so the same replicates.",
                "Runs with different seeds were expected.",
                "For more replicates of one seed, use bootstrap(n, resume=...).",
            )
        both: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ARRAYS
        }
        return replace(self, seed=(*self.seed, *other.seed), **both)

    # --- files ------------------------------------------------------------------------

    def save(self, path: str | PathLike[str], *, dtype: str = "float64") -> None:
        """Write to a NumPy archive (``.npz``); it holds no pickled objects.

        Parameters
        ----------
        path : path
        dtype : {"float64", "float32"}
            Precision of the replicates in the file.
        """
        if dtype not in ("float64", "float32"):
            raise OptionError(
                f"dtype={dtype!r} is not known.", "It must be 'float64' or 'float32'."
            )
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS}
        for name in ("values", "theta", "objective"):
            arrays[name] = arrays[name].astype(dtype)
        texts = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ARRAYS and f.name not in ("parameters", "estimates")
        }
        texts["parameters"] = [asdict(each) for each in self.parameters]
        header = json.dumps({"format": _FORMAT, **texts})
        with open(path, "wb") as file:
            np.savez_compressed(
                file, header=np.array(header), estimates=self.estimates, **arrays
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Bootstrap:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If the file is not such a record.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in (*ARRAYS, "estimates")}
                header = json.loads(str(file["header"]))
        except FileNotFoundError:
            raise
        except Exception as error:
            raise DataError(
                f"{path} is not a record of a bootstrap.",
                "A file that Bootstrap.save wrote was expected.",
            ) from error
        return cls(**_texts(header, path), **_checked(arrays, path))


def _texts(header: Mapping[str, Any], path: Any) -> dict[str, Any]:
    """Fields of the header, with the types of the record."""
    if header.get("format") != _FORMAT:
        raise DataError(
            f"{path} has the format {header.get('format')!r}.",
            f"This version reads the format {_FORMAT}.",
        )
    known = [
        Parameter(**each | {"rows": tuple(each["rows"])})
        for each in header["parameters"]
    ]
    out = {name: header[name] for name in ("kind", "re_form", "groups", "formula")}
    out["seed"] = _tuples(header["seed"])
    out["parameters"] = tuple(known)
    out["places"] = tuple((a, b) for a, b in header["places"])
    out["theta_names"] = tuple(header["theta_names"])
    out["dropped"] = tuple(header["dropped"])
    return out


def _checked(arrays: dict[str, Any], path: Any) -> dict[str, Any]:
    """Arrays of one length, replicates as double precision."""
    count = len(arrays["objective"])
    if any(len(arrays[name]) != count for name in ARRAYS):
        raise DataError(f"{path} has arrays of different lengths.")
    for name in ("values", "theta", "objective"):
        arrays[name] = arrays[name].astype(np.float64)
    return arrays


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _repeated(labels: list[Any], tiled: NDArray[np.intp]) -> pd.Categorical:
    """Labels that repeat; None is missing."""
    known = list(dict.fromkeys(label for label in labels if label is not None))
    codes = np.array([-1 if x is None else known.index(x) for x in labels])
    return pd.Categorical.from_codes(codes[tiled], pd.Index(known, dtype=object))
