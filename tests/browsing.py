"""Debian's Chromium, where it is there, for the tests of what a user sees in a browser."""

import os
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",  # it does not start as root with one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # for the browser's own errands
)
LONGEST_MS = 60_000


@contextmanager
def chromium():
    expect.set_options(timeout=LONGEST_MS)
    with sync_playwright() as found:
        browser = found.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def new_page(browser, script=""):
    """An empty page of a browser that was never used; what it asks of other machines is an error."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(LONGEST_MS)
    context.add_init_script(script)
    asked = []
    context.on("request", lambda request: asked.append(request.url))
    context.route(lambda url: not here(url), lambda route: route.abort())
    yield context.new_page()
    context.close()
    assert asked
    assert [url for url in asked if not here(url)] == []


def here(url):
    """Whether an address is on this machine, or none of a machine at all (data:, blob:)."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", None)


def pictures(otherwise):
    """The folder where pictures of pages are kept."""
    folder = Path(os.environ.get("CARDIOEMU_SCREENSHOTS", otherwise)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
