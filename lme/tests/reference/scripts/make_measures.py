"""Write reference/measures/measures.json.gz: what R says of fitted models.

Usage: python lme/tests/reference/scripts/make_measures.py ../shared MEASURES.json

MEASURES.json is what make_measures.R writes (R 4.2.2, lme4 1.1-31, clubSandwich 0.5.8,
car 3.1-1, nlme 3.1-162). Intraclass correlations, R squared (performance 0.10.2) and
principal components come from ../shared/reference.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def short(value):
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, list):
        return [short(item) for item in value]
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    return value


def shares(entry):
    parts = entry["get_variance"]
    return {
        "icc": [entry["icc"]["ICC_adjusted"], entry["icc"]["ICC_unadjusted"]],
        "r2": [entry["r2"]["R2_marginal"], entry["r2"]["R2_conditional"]],
        "variance": [parts[f"var.{k}"] for k in ("fixed", "random", "residual")],
    }


def main(shared, measures):
    root = Path(shared) / "reference"
    out = json.loads(Path(measures).read_text())
    found = json.loads((root / "inference/icc_r2.json").read_text())
    out["shares"] = {name: shares(entry) for name, entry in found.items()}
    out["rePCA"] = {}
    for path in sorted((root / "lmm").glob("*.json")):
        fits = json.loads(path.read_text())["fits"]
        sdev = fits.get("REML", {}).get("rePCA_sdev")
        if sdev and max(map(len, sdev.values())) > 1:
            out["rePCA"][path.stem] = sdev
    text = json.dumps(short(out), separators=(",", ":"))
    target = HERE / "measures" / "measures.json.gz"
    target.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
