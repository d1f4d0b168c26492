"""Marginal means as text and HTML: what they are, then a table for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lme.inference.marginal.multiplicity import ADJUSTMENTS
from lme.inference.text import escape, html_table, numbers, p_value, table

if TYPE_CHECKING:
    from lme.inference.marginal.estimation import MarginalMeans

TITLES = {
    "means": "Marginal means",
    "contrasts": "Contrasts of marginal means",
    "trends": "Marginal trends",
}


def headline(means: MarginalMeans) -> str:
    """The first line: what is estimated, and how it is averaged."""
    title = TITLES[means.kind]
    if means.kind == "contrasts" and means.family is not None:
        title = f"{title} ({means.family.words})"
    return f"{title}; {means.averaged}" if means.averaged else title


def method_line(means: MarginalMeans) -> str:
    """The second line: distribution, coverage, adjustment and scale."""
    label = means.basis.method.label
    parts = ["tests by z (normal)" if label == "normal" else f"tests by t ({label})"]
    if means.infer[0]:
        parts.append(f"{100 * means.level:g}% intervals")
    parts.append(_adjustment(means))
    if means.scale is not None:
        if means._link() is not None:
            parts.append(f"back-transformed from the {means.scale.name} scale")
        else:
            parts.append(f"on the {means.scale.name} scale")
    text = "; ".join(part for part in parts if part)
    return text[0].upper() + text[1:]


def _adjustment(means: MarginalMeans) -> str:
    """What is adjusted, by which method, for how many estimates."""
    name = means.adjusted_by
    largest = max((rows.size for rows in means._groups()), default=0)
    if name == "none" or largest < 2:
        return ""
    size = f"{means.means} means" if name == "tukey" else f"{largest} estimates"
    text = f"adjusted by {ADJUSTMENTS[name].label} for {size}"
    return f"{text} a group" if means.by else text


def _notes(means: MarginalMeans) -> list[str]:
    notes = list(means.notes)
    if means.adjust != means.adjusted_by:
        notes.append(
            "Tukey's method is for one set of pairwise differences; Sidak's was used."
        )
    lost = means.non_estimable
    if lost:
        notes.append(
            f"{lost} of {len(means)} cannot be estimated from these data: NaN."
        )
    null = means.null
    if null:
        notes.append(f"Tests are against {null:g} on the scale of the predictor.")
    return notes


def cells_of(means: MarginalMeans) -> tuple[list[str], list[list[str]]]:
    """Header and cells, without the columns of groups."""
    frame = means.to_frame()
    inner = [i for i, c in enumerate(means.labels.columns) if c not in means.by]
    letter = means.statistic
    columns = [[_level(v) for v in frame.iloc[:, i]] for i in inner]
    header = [*(str(means.labels.columns[i]) for i in inner), means.estimate_name, "SE"]
    estimates = numbers(frame["estimate"])
    lost = frame["estimate"].isna().tolist()
    columns.append(
        ["NaN" if gone else e for e, gone in zip(estimates, lost, strict=True)]
    )
    columns.append(numbers(frame["se"]))
    if letter == "t":
        header.append("df")
        columns.append(numbers(frame["df"]))
    if means.infer[0]:
        header += ["lower", "upper"]
        columns += [numbers(frame["lower"]), numbers(frame["upper"])]
    if means.infer[1]:
        header += [letter, "p"]
        columns.append(["" if np.isnan(v) else f"{v:.3f}" for v in frame[letter]])
        columns.append([p_value(v) for v in frame["p"]])
    return header, [list(row) for row in zip(*columns, strict=True)]


def _level(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _titles(means: MarginalMeans) -> list[str]:
    """One line above each group."""
    found = []
    for rows in means._groups():
        values = [
            f"{name} = {_level(means.labels[name].iloc[rows[0]])}" for name in means.by
        ]
        found.append(", ".join(values))
    return found


def text_of(means: MarginalMeans) -> str:
    """The estimates as text."""
    header, rows = cells_of(means)
    left = range(len([c for c in means.labels.columns if c not in means.by]))
    body = table(rows, header, left=left).splitlines()
    parts = [headline(means), method_line(means)]
    for title, own in zip(_titles(means), means._groups(), strict=True):
        parts += ["", title] if title else [""]
        parts += [body[0], *(body[1 + i] for i in own)]
    notes = _notes(means)
    if notes:
        parts += ["", *notes]
    return "\n".join(parts)


def html_of(means: MarginalMeans) -> str:
    """The estimates as HTML, for notebooks."""
    header, rows = cells_of(means)
    head = f"{escape(headline(means))}<br/>{escape(method_line(means))}"
    parts = [f"<p>{head}</p>"]
    for title, own in zip(_titles(means), means._groups(), strict=True):
        if title:
            parts.append(f"<p><b>{escape(title)}</b></p>")
        parts.append(html_table([rows[i] for i in own], header))
    parts += [f"<p>{escape(note)}</p>" for note in _notes(means)]
    return "".join(parts)


def level_labels(frame: pd.DataFrame) -> list[str]:
    """One text for each row, from the levels of its variables.

    Levels that are numbers get the name of their variable in front, and those with
    operators stand in parentheses.
    """
    columns = []
    for name in frame.columns:
        texts = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in frame[name]]
        if all(_is_number(text) for text in texts):
            texts = [f"{name}{text}" for text in texts]
        elif any(any(c in text for c in "+-*/ ") for text in texts):
            texts = [f"({t})" if any(c in t for c in "+-*/ ") else t for t in texts]
        columns.append(texts)
    if not columns:
        return ["overall"] * len(frame)
    return [" ".join(parts) for parts in zip(*columns, strict=True)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
