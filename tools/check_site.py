"""Check a built documentation site: links, images, anchors, and the names it describes.

    python tools/check_site.py docs/build/html

Every local link has to lead to a file, and to an anchor in it; every image needs a file
and words for those who cannot see it. Every public name of the package, and every
public method of its results and models, has to have an entry of its own in the
reference. Links to other sites are counted and not followed: the check needs no
network.
"""

import inspect
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util.inventory import InventoryFile

import lme

#: Classes whose public attributes users call, documented with what they inherit.
CLASSES = ("LMMResults", "GLMMResults", "LMM", "GLMM", "Bootstrap", "Prediction")
#: What users have no reason to call, by class or for all.
INTERNAL = {
    *("initialize", "normalized_cov_params", "robust_record", "builder"),
    *("known_options", "unwanted", "from_design", "with_response", "without_rows"),
    *("endog_names", "exog_names"),
}


class Page(HTMLParser):
    """Links, anchors and images of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.images = [], set(), []
        self.feed(text)

    def has(self, anchor):
        """Whether there is such a place; the top is everywhere."""
        return not anchor or anchor in self.anchors

    def handle_starttag(self, tag, attrs):
        """Collect what an element refers to, and what it can be referred to by."""
        found = dict(attrs)
        for key in ("id", "name"):
            if found.get(key):
                self.anchors.add(found[key])
        if tag in ("a", "link") and found.get("href"):
            self.links.append(found["href"])
        if tag in ("img", "script") and found.get("src"):
            self.links.append(found["src"])
        if tag == "img":
            self.images.append((found.get("src", ""), "alt" in found))


def faults_of_links(site):
    """Links, anchors and images of all pages that lead nowhere."""
    pages = {
        path: Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_modules" not in path.parts
    }
    faults, elsewhere = [], 0
    for path, page in pages.items():
        here = path.relative_to(site)
        faults += [f"{here}: no alt for {src}" for src, alt in page.images if not alt]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                elsewhere += parts.scheme != "data"
                continue
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                faults.append(f"{here}: no file for {link}")
            elif target in pages and not pages[target].has(unquote(parts.fragment)):
                faults.append(f"{here}: no anchor for {link}")
    return faults, len(pages), elsewhere


def faults_of_names(site):
    """Public names without an entry in the reference."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    known = {
        name
        for domain, entries in inventory.data.items()
        if domain.startswith("py:")
        for name in entries
    }
    wanted = {f"lme.{name}" for name in lme.__all__}
    for name in CLASSES:
        cls = getattr(lme, name)
        wanted |= {
            f"lme.{name}.{attribute}"
            for attribute in dir(cls)
            if not attribute.startswith("_") and attribute not in INTERNAL
        }
    # Modules and errors have a page, under the place that defines them.
    for name in list(wanted):
        found = getattr(lme, name.removeprefix("lme."), None)
        if inspect.ismodule(found):
            wanted.discard(name)
        elif inspect.isclass(found) and issubclass(found, (lme.LMEError, Warning)):
            wanted.discard(name)
            wanted.add(f"{found.__module__}.{found.__name__}")
    return [f"no entry for {name}" for name in sorted(wanted - known)], len(wanted)


def main(folder):
    """Print what is wrong; the exit status says whether anything is."""
    site = Path(folder).resolve()
    faults, pages, elsewhere = faults_of_links(site)
    missing, names = faults_of_names(site)
    for fault in [*faults, *missing]:
        print(fault, file=sys.stderr)
    count = len(faults) + len(missing)
    print(
        f"{pages} pages, {names} names, {elsewhere} links to other sites: "
        f"{count or 'no'} faults"
    )
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
