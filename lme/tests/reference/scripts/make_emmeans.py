"""Write reference/emmeans/emmeans.json.gz: marginal means by R's emmeans.

Usage: python lme/tests/reference/scripts/make_emmeans.py ../shared DESIGNS

Balanced and real data come from ../shared/reference/inference/emmeans.json (R 4.2.2,
emmeans 1.8.4-1, pbkrtest 0.5.2). DESIGNS is what make_emmeans.R writes, by the same
packages: unbalanced cells, covariates, offsets, transformations and links.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

# Start of the key -> model of the shared cases, and the question.
QUESTIONS = {
    "oats variety pairs tukey": (
        "oats_split", {"specs": "variety", "contrast": "pairwise"}),
    "oats variety|nitrogen": ("oats_split", {"specs": "~ variety | nitrogen"}),
    "oats variety": ("oats_split", {"specs": "variety"}),
    "oats nitrogen poly": ("oats_split", {"specs": "nitrogen", "contrast": "poly"}),
    "ergoStool Type": ("ergoStool", {"specs": "Type"}),
    "ergoStool pairs tukey": ("ergoStool", {"specs": "Type", "contrast": "pairwise"}),
    "tablets_missing method": ("tablets_missing", {"specs": "method"}),
    "tablets_missing pairs": (
        "tablets_missing", {"specs": "method", "contrast": "pairwise"}),
    "orthodont Sex at age": (
        "orthodont", {"specs": "~ Sex | age", "at": {"age": [8, 11, 14]}}),
    "orthodont emtrends age by Sex": ("orthodont", {"specs": "Sex", "trend": "age"}),
    "machines_slope pairs holm": (
        "machines_slope",
        {"specs": "Machine", "contrast": "pairwise", "adjust": "holm"}),
    "machines_nested pairs bonferroni": (
        "machines_nested",
        {"specs": "Machine", "contrast": "pairwise", "adjust": "bonferroni"}),
    "sleep_full Days=0,5,9": (
        "sleep_full", {"specs": "Days", "at": {"Days": [0, 5, 9]}}),
    "cake_temp recipe trt.vs.ctrl dunnettx": (
        "cake_temp", {"specs": "recipe", "contrast": "trt.vs.ctrl"}),
    "cbpp period": ("cbpp", {"specs": "period"}),
    "cbpp pairs tukey": ("cbpp", {"specs": "period", "contrast": "pairwise"}),
    "contraception_ch urban": ("contraception_ch", {"specs": "urban"}),
    "contraception livch pairs": (
        "contraception", {"specs": "livch", "contrast": "pairwise"}),
    "sim_pois trt pairs": ("sim_pois", {"specs": "trt", "contrast": "pairwise"}),
    "sim_pois trt": ("sim_pois", {"specs": "trt"}),
}  # fmt: skip
ENDS = {
    "kenward-roger": {"ddf": "kenward-roger"},
    "satterthwaite": {"ddf": "satterthwaite"},
    "asymptotic": {"ddf": "z"},
    "link": {"type": "link"},
    "response": {"type": "response"},
}
COLUMNS = {
    "SE": "se", "df": "df", "lower.CL": "lower", "upper.CL": "upper",
    "asymp.LCL": "lower", "asymp.UCL": "upper", "t.ratio": "t", "z.ratio": "t",
    "p.value": "p",
}  # fmt: skip


def short(value):
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, list):
        return [short(item) for item in value]
    return value


def shared_cases(path):
    for key, entry in json.loads(path.read_text()).items():
        start, _, end = key.rpartition(" ")
        model, ask = QUESTIONS[start]
        table = entry["table"]
        case = {"case": model, "ask": ask | ENDS[end]}
        names = list(table)
        case["estimate"] = short(table[names[names.index("SE") - 1]])
        for name, column in COLUMNS.items():
            if name in table:
                case[column] = short(table[name])
        if "contrast" in table:
            case["labels"] = table["contrast"]
        yield case


def main(shared, designs):
    content = json.loads(Path(designs).read_text())
    content["cases"] += shared_cases(Path(shared) / "reference/inference/emmeans.json")
    target = HERE / "emmeans" / "emmeans.json.gz"
    target.parent.mkdir(exist_ok=True)
    text = json.dumps(content, separators=(",", ":"))
    target.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
