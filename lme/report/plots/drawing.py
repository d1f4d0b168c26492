"""The figure that the functions of this folder return."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Drawing(Figure):
    """A figure of Matplotlib that shows itself in a notebook.

    It is not registered with pyplot: a notebook shows it once, as the value of a cell,
    and it is gone when nothing refers to it any more.
    """

    def _repr_png_(self) -> bytes:
        # Jupyter knows figures only once pyplot has been imported.
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
