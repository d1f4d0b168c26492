"""Extract of broom.mixed's frames for lme/tests/test_tidy.py.

    python lme/tests/reference/scripts/make_broom.py ../shared/reference

reads ``inference/broom_tidy.json``, which R 4.2.2 with broom.mixed made of lme4's fits
of the sleepstudy and Contraception data.
"""

import json
import sys
from pathlib import Path

source = Path(sys.argv[1]) / "inference" / "broom_tidy.json"
target = Path(__file__).resolve().parents[1] / "broom" / "frames.json"
target.write_text(json.dumps(json.loads(source.read_text()), indent=None) + "\n")
