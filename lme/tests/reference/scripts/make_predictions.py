"""Write reference/prediction/predictions.json.gz: lme4's predict() for new rows.

Usage: python lme/tests/reference/scripts/make_predictions.py ../shared IRIS

From the fits of ../shared/reference (R 4.2.2, lme4 1.1-31): four rows of the data, two
with other covariates, then new levels in every grouping factor, an old row, and new
levels in the second factor only. Entries that lme4 could not make are left out, as are
models with an ``offset=`` argument, which its predict drops. IRIS is R's data set iris
as a csv file, for standard errors that lme4's own tests hold.
"""

import csv
import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def short(value):
    if isinstance(value, float):
        return float(f"{value:.11g}")
    return [short(item) for item in value] if isinstance(value, list) else value


def entry(found):
    if not found or "error" in found or found.get("offset"):
        return None
    kind = next((k for k in ("REML", "nAGQ1") if k in found["fits"]), None)
    predict = found["fits"].get(kind, {}).get("predict", {})
    if "newdata" not in predict:
        return None
    kept = {k: v for k, v in predict.items() if isinstance(v, list)}
    return {"newdata": predict["newdata"]} | {k: short(v) for k, v in kept.items()}


def main(shared, iris):
    out = {}
    for folder in ("lmm", "glmm"):
        models = {}
        for path in sorted((Path(shared) / "reference" / folder).glob("*.json")):
            models[path.stem] = entry(json.loads(path.read_text()))
        out[folder] = {k: v for k, v in models.items() if v}
    with open(iris) as lines:
        rows = list(csv.DictReader(lines))
    wanted = {"Petal.Width": float, "Sepal.Length": float, "Species": str}
    out["iris"] = {
        name.replace(".", "_"): [kind(row[name]) for row in rows]
        for name, kind in wanted.items()
    }
    target = HERE / "prediction"
    target.mkdir(exist_ok=True)
    text = json.dumps(out, separators=(",", ":"))
    packed = gzip.compress(text.encode(), 9, mtime=0)
    (target / "predictions.json.gz").write_bytes(packed)


main(*sys.argv[1:])
