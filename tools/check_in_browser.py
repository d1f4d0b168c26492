"""Look at a built documentation site in headless Chromium.

    pip install playwright
    python tools/check_in_browser.py docs/build/html [folder for screenshots]

Not part of `make docs`: it needs Chromium. Every page is opened at the width of a phone
(360 pixels) and of a desk: it must not be wider than its window, every image has to be
there, and no script may fail. Then words are searched for.
"""

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which

from playwright.sync_api import sync_playwright

WIDTHS = {"phone": (360, 740), "desk": (1280, 800)}
SEARCHES = {
    "shrinkage": "sleepstudy",
    "Satterthwaite": "inference",
    "plot_ranef": "results",
    "nested factors": "pastes",
}
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
EAGER = "document.querySelectorAll('img').forEach(e => e.loading = 'eager')"
BROKEN = """Array.from(document.images)
    .filter(each => each.complete && !each.naturalWidth).map(each => each.src)"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and does not say so."""

    def log_message(self, *args):
        """Say nothing."""


def look(browser, address, site, shots):
    """Faults of all pages at all widths."""
    faults, failed = [], []
    for name, (width, height) in WIDTHS.items():
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("pageerror", lambda error: failed.append(error))
        for path in sorted(site.rglob("*.html")):
            here = path.relative_to(site).as_posix()
            page.goto(f"{address}/{here}")
            page.evaluate(EAGER)
            page.wait_for_load_state("networkidle")
            beyond = page.evaluate(TOO_WIDE)
            if beyond > 0:
                faults.append(f"{here}: {beyond} pixels wider than a {name}")
            faults += [f"{here}: no picture {src}" for src in page.evaluate(BROKEN)]
            if shots:
                file = shots / f"{here.replace('/', '-')}-{name}.png"
                page.screenshot(path=file, full_page=True)
                if here == "index.html":
                    page.screenshot(path=shots / f"first-screen-{name}.png")
        page.close()
    return faults + [f"script: {error}" for error in failed]


def search(browser, address):
    """Faults of the search: words that do not lead to the page about them."""
    faults = []
    page = browser.new_page()
    for words, wanted in SEARCHES.items():
        page.goto(f"{address}/search.html?q={words}")
        page.wait_for_selector("#search-results li a")
        page.wait_for_timeout(500)
        found = page.eval_on_selector_all(
            "#search-results li a", "all => all.map(each => each.href)"
        )
        if not any(wanted in link for link in found):
            faults.append(f"search for {words!r} does not find {wanted}: {found[:5]}")
    page.close()
    return faults


def main(folder, shots=None):
    """Print what is wrong; the exit status says whether anything is."""
    site = Path(folder).resolve()
    pictures = Path(shots) if shots else None
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    chromium = which("chromium") or which("chromium-browser") or which("google-chrome")
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        faults = look(browser, address, site, pictures) + search(browser, address)
        browser.close()
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(faults) or 'no'} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
