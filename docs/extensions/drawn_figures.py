"""Figures of the documentation: a page's examples are run when it is built.

The examples of a page (``>>>``) are run in order, in one namespace, as pytest runs them
with the rest of the tests; pytest compares what they print, the build only needs them
to work. Where the page says ::

    .. drawn:: figure
       :alt: What the figure shows
       :size: 4 3

the variable ``figure`` as it is at that place is shown, drawn in that size (inches) if
one is given. The option ``thumbnail`` makes it the picture of the page in the
``thumbnails`` of another page::

    .. thumbnails::

       dyestuff
       penicillin
"""

import doctest
import hashlib
import io
import os
import re
import warnings
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import SphinxError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

DIRECTIVE = re.compile(r"^ *\.\. drawn:: +(\w+) *$", re.MULTILINE)
THUMBNAIL = re.compile(r"\.\. drawn:: +(\w+) *\n(?: +:.*\n)*? +:thumbnail:")
FOLDER = "_figures"
LOOKS = {
    "svg.fonttype": "path",
    "svg.hashsalt": "lme",
    "savefig.facecolor": "white",
    "font.size": 10,
}

log = logging.getLogger(__name__)


class _Runner(doctest.DocTestRunner):
    """Runs examples, whatever they print; an exception ends the build."""

    def report_start(self, out, test, example):
        pass

    def report_success(self, out, test, example, got):
        pass

    def report_failure(self, out, test, example, got):
        pass

    def report_unexpected_exception(self, out, test, example, exc_info):
        line = (test.lineno or 0) + example.lineno + 1
        raise SphinxError(f"{test.filename}:{line}: {exc_info[1]!r}") from exc_info[1]


@dataclass(frozen=True)
class Shown:
    """A figure on file: its name, and its size in inches."""

    name: str
    width: float
    height: float


def shown(app, docname: str) -> list[Shown]:
    """Run the examples of a page and write its figures; once for each build."""
    known = app.lme_figures
    if docname not in known:
        known[docname] = _run(app, docname)
    return known[docname]


def _folder(app) -> Path:
    folder = Path(app.doctreedir).parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(app, docname: str) -> list[Shown]:
    import matplotlib

    matplotlib.use("agg")
    path = Path(app.env.doc2path(docname))
    text = path.read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    found, begin = [], 0
    runner = _Runner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with warnings.catch_warnings(), matplotlib.rc_context(LOOKS):
        warnings.simplefilter("ignore")
        for place in DIRECTIVE.finditer(text):
            part = text[begin : place.start()]
            lineno = text.count("\n", 0, begin)
            test = doctest.DocTestParser().get_doctest(
                part, names, docname, str(path), lineno
            )
            # The runner may clear or copy the names of a test.
            test.globs = names
            runner.run(test, out=lambda _: None, clear_globs=False)
            begin = place.end()
            if place[1] not in names:
                raise SphinxError(f"{path}: there is no figure {place[1]!r}.")
            figure = names[place[1]]
            figure = getattr(figure, "figure", figure)
            options = text[place.end() :].split("\n\n", 1)[0]
            size = re.search(r":size: +([\d.]+) +([\d.]+)", options)
            if size:
                figure.set_size_inches(float(size[1]), float(size[2]))
            found.append(_save(app, docname, place[1], figure))
    return found


def _save(app, docname: str, name: str, figure) -> Shown:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    stem = hashlib.sha256(text.encode()).hexdigest()[:8]
    file = f"{docname.replace('/', '-')}-{name}-{stem}.svg"
    (_folder(app) / file).write_text(text, encoding="utf-8")
    width, height = figure.get_size_inches()
    return Shown(file, float(width), float(height))


class Drawn(SphinxDirective):
    """Show a figure that the page's examples made."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {
        "alt": directives.unchanged_required,
        "size": directives.unchanged_required,
        "thumbnail": directives.flag,
        "width": directives.length_or_percentage_or_unitless,
    }

    def run(self):
        docname = self.env.docname
        counts = self.env.temp_data
        number = counts.get("drawn", 0)
        counts["drawn"] = number + 1
        if "alt" not in self.options:
            raise self.error("A figure needs :alt:, for those who cannot see it.")
        found = shown(self.env.app, docname)[number]
        here = Path(self.env.doc2path(docname)).parent
        target = os.path.relpath(_folder(self.env.app) / found.name, here)
        width = self.options.get("width", f"{72 * found.width:.0f}px")
        image = nodes.image(uri=target, alt=self.options["alt"], width=width)
        figure = nodes.figure("", image, align="center")
        if self.content:
            parsed = self.parse_content_to_nodes()
            figure += nodes.caption("", "", *parsed[0].children)
        return [figure]


class Cards(nodes.General, nodes.Element):
    """A grid of pages with their pictures."""


class Thumbnails(SphinxDirective):
    """Pages, each with its picture, title and first sentence."""

    has_content = True

    def run(self):
        folder = os.path.dirname(self.env.docname)
        pages = [f"{folder}/{line.strip()}" for line in self.content if line.strip()]
        entries = []
        for page in pages:
            text = Path(self.env.doc2path(page)).read_text(encoding="utf-8")
            wanted = THUMBNAIL.search(text)
            if not wanted:
                raise self.error(f"The page {page} has no figure with :thumbnail:.")
            place = [m.start() for m in DIRECTIVE.finditer(text)].index(wanted.start())
            found = shown(self.env.app, page)[place]
            entries.append((page, found.name))
            self.env.note_dependency(self.env.doc2path(page))
        return [Cards("", entries=entries)]


def _visit_thumbnails(self, node):
    builder = self.builder
    self.body.append('<div class="thumbnails">')
    for page, file in node["entries"]:
        link = escape(relative_uri(builder.get_target_uri(builder.current_docname),
                                   builder.get_target_uri(page)))  # fmt: skip
        picture = relative_uri(
            builder.get_target_uri(builder.current_docname), f"_images/{file}"
        )
        title = escape(builder.env.titles[page].astext())
        self.body.append(
            f'<a class="thumbnail" href="{link}"><img src="{escape(picture)}" alt="" '
            f'loading="lazy"><span>{title}</span></a>'
        )
    self.body.append("</div>")
    raise nodes.SkipNode


def _skip(self, node):
    raise nodes.SkipNode


def _begin(app):
    app.lme_figures = {}


def setup(app):
    """Register the directives."""
    app.lme_figures = {}
    app.connect("builder-inited", _begin)
    app.add_directive("drawn", Drawn)
    app.add_directive("thumbnails", Thumbnails)
    app.add_node(
        Cards,
        html=(_visit_thumbnails, None),
        text=(_skip, None),
        latex=(_skip, None),
    )
    return {"parallel_read_safe": False, "parallel_write_safe": True}
