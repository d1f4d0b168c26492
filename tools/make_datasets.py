"""Write lme/datasets/*.txt.gz from the reference folder.

Usage: python tools/make_datasets.py ../shared/reference
"""

import runpy
import sys
from pathlib import Path

from lme import datasets
from lme.datasets.storage import encode

reference = Path(sys.argv[1]).resolve()
load = runpy.run_path(str(reference / "load.py"))["load"]
target = Path(datasets.__file__).parent
total = 0
for name in datasets.list():
    data = encode(load(name, root=str(reference)))
    (target / f"{name}.txt.gz").write_bytes(data)
    total += len(data)
print(f"{len(datasets.list())} data sets, {total} bytes")
