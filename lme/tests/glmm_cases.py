"""Generalized models that the tests share, read from ``reference/glmm``."""

import gzip
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import lme
from lme.families import FAMILIES, Family, NegativeBinomial, resolve
from lme.tests.cases import REFERENCE, data

NAMES = {"Gamma": "gamma", "inverse.gaussian": "inverse_gaussian"}
# lme4 has no likelihood for these: see caveat 6 of the reference.
DISPERSION = {name for name, family in FAMILIES.items() if family.dispersion}


@dataclass(frozen=True)
class GLMMCase:
    """One model; `options` are keyword arguments of `lme.glmer`."""

    id: str
    data: str
    formula: str
    family: Family
    options: dict[str, Any] = field(default_factory=dict)

    def model(self, **changes: Any) -> Any:
        """The model before it is fitted."""
        options = {"family": self.family, **self.options, **changes}
        return lme.glmer(self.formula, data(self.data), **options)

    def fit(self, nAGQ: int = 1, **options: Any) -> Any:
        """The fitted model."""
        return self.model().fit(nAGQ=nAGQ, **options)


@cache
def references() -> dict[str, Any]:
    """``models`` (id -> model with its ``fits``), ``nb`` and ``glmmTMB``."""
    text = gzip.decompress((REFERENCE / "glmm" / "models.json.gz").read_bytes())
    content: dict[str, Any] = json.loads(text)
    return content


def _family(text: str) -> Family:
    name, _, link = text.rstrip(")").partition("(")
    if name == "negative.binomial":
        return NegativeBinomial(1.7)
    return resolve(NAMES.get(name, name), link)


def _case(entry: dict[str, Any]) -> GLMMCase:
    family = _family(entry.get("family", "negative_binomial(log"))
    options = {k: entry[k] for k in ("weights", "offset", "subset") if k in entry}
    return GLMMCase(entry["id"], entry["data"], entry["formula"], family, options)


GLMM_CASES = {name: _case(entry) for name, entry in references()["models"].items()}
NB_CASES = {
    name: GLMMCase(name, entry["data"], entry["formula"], NegativeBinomial())
    for name, entry in references()["nb"].items()
}
