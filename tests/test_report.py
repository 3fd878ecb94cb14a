"""The report of an evaluation in a real browser: every figure is seen, and nothing is asked of anyone else."""

import re
import shutil
from pathlib import Path

import pytest
from browsing import CHROMIUM, chromium, new_page, pictures

SECTIONS = [
    "errors",
    "examples-emulator",
    "distribution",
    "along",
    "phases",
    "biomarkers",
    "firing",
    "calibration",
    "scales",
    "distance",
    "worst",
]
FIGURES = [name for name in SECTIONS if name not in ("errors", "phases", "worst")]
# Width as drawn, as it is in the file, and how many colours a grid of its points has.
SEEN = """image => {
    const canvas = document.createElement('canvas')
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight
    const brush = canvas.getContext('2d')
    brush.drawImage(image, 0, 0)
    const points = brush.getImageData(0, 0, canvas.width, canvas.height).data
    const colours = new Set()
    for (let i = 0; i < points.length; i += 4) colours.add(points[i] + 256 * points[i + 1] + 65536 * points[i + 2])
    return [image.clientWidth, image.naturalWidth, colours.size]
}"""

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
    pytest.mark.xdist_group("evaluation"),  # of which it is the report
]


@pytest.fixture(scope="module")
def page_file(evaluation, tmp_path_factory):
    # It is one file: it is read elsewhere, without its folder.
    return Path(shutil.copy(evaluation.folder / "report.html", tmp_path_factory.mktemp("mailed")))


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def test_a_reader_sees_it_all(browser, page_file, data, tmp_path):
    with new_page(browser) as page:
        wrong = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(page_file.as_uri())
        assert page.locator("section").evaluate_all("all => all.map(one => one.id)") == SECTIONS
        for name in FIGURES:
            image = page.locator(f"#{name} img")
            image.scroll_into_view_if_needed()
            assert image.is_visible()
            drawn, width, colours = image.evaluate(SEEN)
            assert drawn > 300, name
            assert width > 300, name
            assert colours > 20, name
        rows = page.locator("#errors tbody tr td:first-child").all_inner_texts()
        assert rows == ["emulator", "nearest_cell", "linear_interpolation", "pca_ridge", "gaussian_process"]
        assert page.locator("#worst tbody tr").count() == len(data.cell_indices["test"])
        assert re.search(r"command: python .*evaluate.py checkpoint=", page.locator("pre").inner_text())
        # The page itself is not wider than the window; a wide table scrolls in its own frame.
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.screenshot(path=pictures(tmp_path) / "report.png", full_page=True)
        assert wrong == []


def test_the_page_may_not_ask_anyone(browser, page_file, tmp_path):
    text = page_file.read_text()
    assert not re.search("https?://", text)
    # Were something in it to ask, the browser would not let it.
    asking = tmp_path / "asking.html"
    asking.write_text(text.replace("<h2>", '<img src="http://example.org/x.png"><h2>', 1))
    refused = []
    page = browser.new_page()
    page.on("console", lambda message: refused.append(message.text))
    page.goto(asking.as_uri())
    page.close()
    assert any("Content Security Policy" in said for said in refused)
