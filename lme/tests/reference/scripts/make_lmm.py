"""Write reference/lmm/models.json.gz and reference/data/*.txt.gz.

Usage: python lme/tests/reference/scripts/make_lmm.py ../shared

The models were fitted by R 4.2.2 and lme4 1.1-31 with several optimizers and a
Newton polish; ../shared/reference/README.md tells how and with what caveats.
Numbers keep 13 significant digits, objectives all of them.
"""

import gzip
import json
import runpy
import sys
from pathlib import Path

import pandas as pd

from lme.datasets.storage import encode

EXACT = {"minus2logLik", "logLik", "REMLcrit", "AIC", "BIC", "AICc"}
KEEP = """
nobs ngroups theta theta_names lower beta sigma logLik df df_residual minus2logLik
AIC BIC AICc devcomp_cmp ML_logLik_at_fit se corr_fixef scaled_resid_quantiles VarCorr
rePCA_sdev isSingular X_colnames X_colsums X_row1 X_rowlast X_dropped_cols Z_dim Z_nnz
Z_sum cnms ranef condVar fitted10 fitted_sum fitted_sumsq resid10_response
resid_sumsq_response resid10_pearson resid_sumsq_pearson hatvalues10 hatvalues_sum
predict messages_tight
""".split()  # noqa: SIM905
DATA = ["sleepstudy_x", "sleepstudy_na", "cbpp_x", "Pixel", "Rail", "ergoStool"]


def shortened(value):
    if isinstance(value, float):
        return float(f"{value:.13g}")
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, dict):
        # Matrices without names need no keys for them.
        kept = {k: v for k, v in value.items() if not (k in {"rows", "cols"} and not v)}
        return {key: shortened(item) for key, item in kept.items()}
    return value


def compact(fit):
    kept = {
        key: fit[key] if key in EXACT else shortened(fit[key])
        for key in KEEP
        if key in fit
    }
    kept["lme4_default_minus_best"] = fit.get("default_fit", {}).get(
        "objective_minus_best"
    )
    return kept


def write_models(reference, target):
    models = {}
    for path in sorted((reference / "lmm").glob("*.json")):
        model = json.loads(path.read_text())
        entry = {k: v for k, v in model.items() if v is not None and k != "fits"}
        entry["fits"] = {kind: compact(fit) for kind, fit in model["fits"].items()}
        models[path.stem] = entry
    text = json.dumps(models, separators=(",", ":"), ensure_ascii=False)
    data = gzip.compress(text.encode(), 9, mtime=0)
    (target / "lmm").mkdir(exist_ok=True)
    (target / "lmm" / "models.json.gz").write_bytes(data)
    print(f"{len(models)} models, {len(data)} bytes")


def write_data(shared, target):
    load = runpy.run_path(str(shared / "reference" / "load.py"))["load"]
    frames = {name: load(name, root=str(shared / "reference")) for name in DATA}
    kb07 = pd.read_csv(shared / "bench" / "data" / "kb07.csv.gz")
    for name in ("G", "H"):
        levels = [str(level) for level in sorted(kb07[name].unique())]
        kb07[name] = pd.Categorical(kb07[name].astype(str), levels)
    frames["kb07"] = kb07
    for name, frame in frames.items():
        data = encode(frame)
        (target / "data" / f"{name}.txt.gz").write_bytes(data)
        print(f"{name}: {len(frame)} rows, {len(data)} bytes")


if __name__ == "__main__":
    shared = Path(sys.argv[1]).resolve()
    target = Path(__file__).resolve().parents[1]
    write_models(shared / "reference", target)
    write_data(shared, target)
