"""Write reference/glmm/models.json.gz and the data sets that its models need.

Usage: python lme/tests/reference/scripts/make_glmm.py ../shared

The models were fitted by R 4.2.2 and lme4 1.1-31; "exact" is lme4's own criterion
optimised outside lme4 with PIRLS run to machine precision, "nb" is glmer.nb with its
theta profiled tightly, "glmmTMB" are fits of glmmTMB 1.1.5. See
../shared/reference/README.md, caveats 5 to 10.
"""

import gzip
import json
import runpy
import sys
from pathlib import Path

from lme.datasets.storage import encode

EXACT = {"minus2logLik", "objective", "logLik"}
KEEP = """
nobs ngroups theta theta_names beta df df_residual minus2logLik deviance devcomp_cmp
se se_RX se_numderiv scaled_resid_quantiles VarCorr isSingular X_dropped_cols ranef
condVar fitted10 eta10 resid10_response resid10_pearson resid10_deviance
resid10_working resid_sumsq_pearson resid_sumsq_deviance resid_sumsq_working predict
""".split()  # noqa: SIM905
PREDICT = """
newdata re_NULL_allow_new_link re_NA_link re_NULL_allow_new_response re_NA_response
""".split()  # noqa: SIM905
OPTIONS = ["id", "data", "formula", "family", "weights", "offset", "subset"]
DATA = ["simglm", "salamander", "toenail", "Arabidopsis"]
LEVELS = 12


def shortened(value):
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not (k in {"rows", "cols"} and not v)}
        return {key: shortened(item) for key, item in kept.items()}
    return value


def compact(fit):
    """What the tests look at; of many levels the first ones."""
    kept = {
        key: fit[key] if key in EXACT else shortened(fit[key])
        for key in KEEP
        if key in fit
    }
    if "predict" in kept:
        kept["predict"] = {k: v for k, v in kept["predict"].items() if k in PREDICT}
    for part in kept.get("ranef", {}).values():
        part["levels"] = part["levels"][:LEVELS]
        part["values"] = part["values"]["values"][:LEVELS]
    for part in kept.get("condVar", {}).values():
        for levels in part.get("per_term", {"": part.get("first_levels", [])}).values():
            del levels[LEVELS:]
    return kept


def write_models(reference, target):
    exact = json.loads((reference / "glmm_exact_laplace.json").read_text())
    models = {}
    for path in sorted((reference / "glmm").glob("*.json")):
        model = json.loads(path.read_text())
        fits = {k: f for k, f in model.get("fits", {}).items() if "minus2logLik" in f}
        entry = {k: model[k] for k in OPTIONS if model.get(k) is not None}
        entry["fits"] = {kind: compact(fit) for kind, fit in fits.items()}
        for kind, fit in exact.get(path.stem, {}).items():
            wanted = ("objective", "theta", "beta", "se")
            entry["fits"][kind]["exact"] = {k: fit[k] for k in wanted if k in fit}
        models[path.stem] = entry
    negative_binomial = {}
    for path in sorted((reference / "glmm_nb").glob("*.json")):
        model = json.loads(path.read_text())
        entry = {k: model[k] for k in (*OPTIONS, "nb_theta") if k in model}
        entry["fit"] = compact(model["fit"])
        entry["glmmTMB"] = model["glmmTMB_nbinom2"]
        negative_binomial[path.stem] = entry
    content = {
        "models": models,
        "nb": negative_binomial,
        "glmmTMB": json.loads((reference / "glmmTMB_crosscheck.json").read_text()),
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    data = gzip.compress(text.encode(), 9, mtime=0)
    (target / "glmm").mkdir(exist_ok=True)
    (target / "glmm" / "models.json.gz").write_bytes(data)
    print(f"{len(models)} models, {len(data)} bytes")


def write_data(shared, target):
    load = runpy.run_path(str(shared / "reference" / "load.py"))["load"]
    for name in DATA:
        frame = load(name, root=str(shared / "reference"))
        text = frame.select_dtypes(["object", "string"]).columns
        data = encode(frame.astype(dict.fromkeys(text, "category")))
        (target / "data" / f"{name}.txt.gz").write_bytes(data)
        print(f"{name}: {len(frame)} rows, {len(data)} bytes")


if __name__ == "__main__":
    shared = Path(sys.argv[1]).resolve()
    target = Path(__file__).resolve().parents[1]
    write_models(shared / "reference", target)
    write_data(shared, target)
