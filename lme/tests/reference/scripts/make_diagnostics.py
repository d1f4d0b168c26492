"""Write reference/diagnostics/diagnostics.json.gz: leverage, influence, dispersion.

Usage: python lme/tests/reference/scripts/make_diagnostics.py ../shared

From ../shared/reference (R 4.2.2, lme4 1.1-31): hatvalues and residuals of every linear
model, `influence.json`, and the parts of Pearson's chi-square of generalized models.
lme4's hatvalues of generalized models do not use the weights (their sum exceeds the
number of rows), so they are left out.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
ROWS = ("cooks_distance_obs10", "cooks_distance_obs_sum", "hat10", "rstudent10")
FIT = ("hatvalues10", "hatvalues_sum", "resid10_pearson", "resid_sumsq_response")


def short(value):
    if isinstance(value, float):
        return float(f"{value:.11g}")
    if isinstance(value, list):
        return [short(item) for item in value]
    return value


def main(shared):
    root = Path(shared) / "reference"
    linear = {}
    for path in sorted((root / "lmm").glob("*.json")):
        fits = json.loads(path.read_text())["fits"]
        linear[path.stem] = {
            kind: {key: short(fit[key]) for key in FIT}
            for kind, fit in fits.items()
            if "hatvalues10" in fit
        }
    influence = {}
    for name, found in json.loads(
        (root / "inference/influence.json").read_text()
    ).items():
        entry = influence[name] = {key: short(found[key]) for key in ROWS}
        entry["group"] = found["group"]
        entry["cooks_distance"] = short(found["cooks_distance_group"])
        entry["levels"] = found["dfbeta"]["rows"]
        entry["params"] = short(found["fixef_without_group"]["values"])
        entry["dfbetas"] = short(found["dfbetas"].get("values"))
    dispersion = {
        path.stem: short(list(json.loads(path.read_text())["overdispersion"].values()))
        for path in sorted((root / "inference/glmm").glob("*.json"))
    }
    out = {"linear": linear, "influence": influence, "dispersion": dispersion}
    text = json.dumps(out, separators=(",", ":"))
    target = HERE / "diagnostics" / "diagnostics.json.gz"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
