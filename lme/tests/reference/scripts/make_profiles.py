"""Write reference/profiles/intervals.json, what lme4 says of profiles.

Usage: python lme/tests/reference/scripts/make_profiles.py ../shared

``confint`` are profile intervals at 95 percent by lme4 1.1-31, ``points`` are zeta at
given values by optimisers outside lme4's ``profile`` (more exact). ``machines`` is by
make_profiles.R, run here.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEEP = """
dyestuff_REML sleep_full_REML sleep_full_ML sleep_uncorr_ML penicillin_ML pastes_ML
sleep_int_ML tablets_ML ergoStool_ML cake_temp_ML cbpp sim_pois
""".split()  # noqa: SIM905


def main(shared):
    """Read the shared references and run R once."""
    folder = Path(shared) / "reference" / "inference"
    intervals = json.loads((folder / "confint.json").read_text())
    points = json.loads((folder / "profile_zeta_points.json").read_text())
    confint = {}
    for name in KEEP:
        table = intervals[name]["profile_0.95"]
        confint[name] = dict(zip(table["rows"], table["values"], strict=True))
    run = subprocess.run(
        ["Rscript", str(HERE / "make_profiles.R")],
        capture_output=True,
        text=True,
        check=True,
    )
    confint["machines"] = json.loads(run.stdout)
    out = HERE.parent / "profiles" / "intervals.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"confint": confint, "points": points}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
