"""Draw the figure of the readme: ``python tools/readme_figure.py``."""

from pathlib import Path

import matplotlib

import lme

matplotlib.use("agg")
LOOKS = {"svg.fonttype": "path", "svg.hashsalt": "lme", "savefig.facecolor": "white"}


def main():
    """Write docs/source/_static/sleepstudy.svg."""
    sleep = lme.datasets.load("sleepstudy")
    res = lme.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    persons = ["309", "310", "350", "308", "371", "335", "372", "337"]
    figure = res.plot_fit(levels=persons, aspect=None)
    figure.set_size_inches(9, 3.2)
    target = (
        Path(__file__).parents[1] / "docs" / "source" / "_static" / "sleepstudy.svg"
    )
    with matplotlib.rc_context(LOOKS):
        figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
