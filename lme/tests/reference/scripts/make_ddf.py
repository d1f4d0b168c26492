"""Write reference/ddf.json.gz: degrees of freedom and tables of terms by R.

Usage: python lme/tests/reference/scripts/make_ddf.py ../shared [UNBALANCED]

Balanced and real data come from ../shared/reference/inference/lmm (R 4.2.2, lmerTest
3.1-3, pbkrtest 0.5.2). UNBALANCED is what make_ddf.R writes: formulas, weights, ML and
factors in all cells of unequal size, made by the same packages.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
# Its last F, .2334, is neither lme4's nor that of a second run of lmerTest: .2109.
WRONG = {("oats_block", "anova_type1_Satterthwaite")}
METHODS = ("Satterthwaite", "Kenward-Roger")
COLUMNS = ("NumDF", "DenDF", "F value", "Pr(>F)")


def short(value):
    if isinstance(value, float):
        return float(f"{value:.11g}")
    if isinstance(value, list):
        return [short(item) for item in value]
    return value


def table(entry):
    return {"rows": entry["rows"]} | {c: short(entry[c]) for c in COLUMNS}


def main(shared, unbalanced=None):
    models = {}
    for path in sorted((Path(shared) / "reference/inference/lmm").glob("*.json")):
        found = json.loads(path.read_text())
        kept = models[path.stem] = {}
        for method in METHODS:
            if f"summary_{method}" in found:
                kept[f"summary {method}"] = short(found[f"summary_{method}"]["values"])
            for kind in (1, 2, 3):
                key = f"anova_type{kind}_{method}"
                if key in found and (path.stem, key) not in WRONG:
                    kept[f"anova {kind} {method}"] = table(found[key])
        if "vcovAdj_KR" in found:
            kept["vcov"] = short(found["vcovAdj_KR"]["values"])
        if "KRmodcomp_allslopes" in found:
            joint = found["KRmodcomp_allslopes"]
            kept["joint"] = [joint[k] for k in ("Fstat", "ndf", "ddf", "F.scaling")]
        if "contest1D_L" in found:
            kept["contest"] = [
                found["contest1D_L"],
                found["contest1D_Satterthwaite"]["df"][0],
            ]
    out = {"models": models}
    if unbalanced:
        folder = Path(unbalanced)
        out["data"] = (folder / "d.csv").read_text()
        out["unbalanced"] = [
            {
                key: ({k: short(value[k]) for k in ("rows", *COLUMNS)})
                if isinstance(value, dict)
                else short(value)
                for key, value in entry.items()
            }
            for entry in json.loads((folder / "ub.json").read_text())
        ]
    text = json.dumps(out, separators=(",", ":"))
    (HERE / "ddf.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
