"""What R says of fitted models, and the models with a robust reference."""

import gzip
import json
from functools import cache

import lme
from lme.tests.cases import REFERENCE

STORED = json.loads(
    gzip.decompress((REFERENCE / "measures" / "measures.json.gz").read_bytes())
)
ROBUST = {
    "sleep_full": ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
    "sleep_ml": ("sleepstudy", "Reaction ~ Days + (1 | Subject)"),
    "sleep_uneven": ("uneven", "Reaction ~ Days + (Days | Subject)"),
    "sleep_pairs": ("uneven", "Reaction ~ Days + (Days | Subject)"),
    "orthodont": ("Orthodont", "distance ~ age * Sex + (age | Subject)"),
    "machines": ("Machines", "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)"),
    "oats": ("oats", "yield ~ nitrogen + variety + (1 | block) + (1 | block:variety)"),
    "scots": ("ScotsSec", "attain ~ verbal + sex + (1 | second)"),
}


def frame(name):
    """A data set; ``uneven`` is sleepstudy with subjects of unequal size."""
    if name != "uneven":
        return lme.datasets.load(name)
    rows = [label - 1 for label in STORED["uneven_rows"]]
    return lme.datasets.load("sleepstudy").iloc[rows]


@cache
def robust_case(name):
    """The fitted model of a robust reference."""
    data, formula = ROBUST[name]
    return lme.lmer(formula, frame(data), REML=name != "sleep_ml").fit()
