"""Copy the formula cases of ../shared/reference into the package, compactly.

python make_formula.py SHARED_REFERENCE [RANDOM_FOLDER]

SHARED_REFERENCE holds `formula` and `formula_fuzz`. RANDOM_FOLDER holds the output
of random_formulas.R: main.jsonl and na.jsonl (data v_main and v_na) and new.jsonl
(v_main, predicted for v_new), each made from 900 formulas of random_formulas.py with
the seeds 11, 12 and 13; without it, these files are left as they are.
"""

import csv
import gzip
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parents[1] / "formula"
DROPPED = ["r", "lme4", "locale_collate", "options", "note", "model_frame_names"]


def main(reference, random_folder=None):
    reference = pathlib.Path(reference)
    folder = reference / "formula"
    data = {}
    for path in sorted((folder / "data").glob("*.csv")):
        schema = json.loads(
            path.with_suffix("").with_suffix(".schema.json").read_text()
        )
        with path.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        for column in schema["columns"]:
            column["text"] = [row[column["name"]] for row in rows]
        data[path.stem] = schema["columns"]
    write("data.json.gz", json.dumps(data, separators=(",", ":")))
    cases = []
    for path in sorted(folder.glob("v[0-9]*.json")):
        case = {
            k: v for k, v in json.loads(path.read_text()).items() if k not in DROPPED
        }
        case["data"] = pathlib.Path(case["data"]).stem
        if case.get("predict"):
            case["predict"]["newdata"] = pathlib.Path(case["predict"]["newdata"]).stem
        cases.append(json.dumps(case, separators=(",", ":")))
    write("cases.jsonl.gz", "\n".join(cases))
    fuzz = reference / "formula_fuzz" / "v_main_seed42.tsv.gz"
    write("random_42.tsv.gz", gzip.decompress(fuzz.read_bytes()).decode())
    if random_folder is not None:
        for name in ("main", "na", "new"):
            text = (pathlib.Path(random_folder) / f"{name}.jsonl").read_text()
            write(f"random_{name}.jsonl.gz", text)


def write(name, text):
    HERE.mkdir(exist_ok=True)
    (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
