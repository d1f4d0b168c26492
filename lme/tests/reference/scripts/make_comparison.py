"""Write reference/comparison.json.gz: comparisons and deletions of terms by R.

Usage: python lme/tests/reference/scripts/make_comparison.py ../shared SIMULATED

../shared/reference/inference has lme4's anova and drop1, lmerTest's ranova and drop1 (R
4.2.2). SIMULATED is what make_comparison.R writes: quantiles of null distributions by
RLRsim 3.1-8 and conditional AICs by cAIC4.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
DROPPED = {"contraception", "contraception_int", "salamander"}  # more of the same


def short(value):
    if isinstance(value, float):
        return float(f"{value:.11g}")
    if isinstance(value, list):
        return [short(item) for item in value]
    return value


def table(entry):
    return {k: short(v) for k, v in entry.items() if k != "heading"}


def main(shared, simulated):
    folder = Path(shared) / "reference/inference"
    anova = {}
    for name, entry in json.loads((folder / "anova_lrt.json").read_text()).items():
        heading = entry["table"]["heading"]
        if "Models:" in heading:
            data = heading[0].removeprefix("Data: ")
            formulas = [line.split(": ", 1)[1] for line in heading[2:]]
            anova[name] = {"data": data, "formulas": formulas} | table(entry["table"])
    drops = json.loads((folder / "drop1_chisq.json").read_text())
    drop1 = {k: table(v["table"]) for k, v in drops.items() if k not in DROPPED}
    ranova, drop1_f = {}, {}
    for path in sorted((folder / "lmm").glob("*.json")):
        found = json.loads(path.read_text())
        if "ranova" in found:
            ranova[path.stem] = table(found["ranova"])
        if "drop1_F_Satterthwaite" in found:
            drop1_f[path.stem] = table(found["drop1_F_Satterthwaite"])
    out = {"anova": anova, "drop1": drop1, "drop1_f": drop1_f, "ranova": ranova}
    out["simulated"] = json.loads(Path(simulated).read_text())
    text = json.dumps(out, separators=(",", ":")).encode()
    (HERE / "comparison.json.gz").write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
