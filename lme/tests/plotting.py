"""What the tests of figures share: fitted models, and finding what was drawn."""

from functools import cache

import numpy as np

import lme

LOAD = lme.datasets.load


@cache
def sleep():
    return lme.lmer("Reaction ~ Days + (Days | Subject)", LOAD("sleepstudy")).fit()


@cache
def penicillin():
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    return lme.lmer(formula, LOAD("Penicillin")).fit()


@cache
def herds():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return lme.glmer(formula, LOAD("cbpp"), family="binomial").fit()


@cache
def dyestuff(name="Dyestuff"):
    return lme.lmer("Yield ~ 1 + (1 | Batch)", LOAD(name), REML=False).fit()


def drawn(axes, gid):
    """Artists of an axes that were drawn under a name."""
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def one(axes, gid):
    (artist,) = drawn(axes, gid)
    return artist


def points(axes, gid="points"):
    """Coordinates of the points of a scatter, (n, 2)."""
    return np.vstack([np.asarray(a.get_offsets()) for a in drawn(axes, gid)])


def segments(axes, gid="intervals"):
    """Ends of lines, (n, 2, 2)."""
    return np.vstack([np.array(a.get_segments()) for a in drawn(axes, gid)])


def line(axes, gid):
    """Coordinates of a line, (n, 2)."""
    return one(axes, gid).get_xydata()


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]
