"""The report of an evaluation in a real browser: every figure is visible, and nothing else is loaded."""

import re
import shutil
from pathlib import Path

import pytest
from browsing import CHROMIUM, new_page, pictures

FIGURES = ["examples-emulator", "distribution", "along", "biomarkers", "firing", "calibration", "scales", "distance"]
SECTIONS = ["errors", *FIGURES[:3], "phases", *FIGURES[3:], "worst"]
# Width on the page, width in the file, and number of colours.
IMAGE_FACTS = """image => {
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
    # The file must be readable without its folder.
    return Path(shutil.copy(evaluation.folder / "report.html", tmp_path_factory.mktemp("mailed")))


def test_every_section_is_visible(browser, page_file, data, tmp_path):
    with new_page(browser) as page:
        errors = []
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        assert page.locator("section").evaluate_all("all => all.map(one => one.id)") == SECTIONS
        for name in FIGURES:
            image = page.locator(f"#{name} img")
            image.scroll_into_view_if_needed()
            assert image.is_visible()
            drawn, width, colours = image.evaluate(IMAGE_FACTS)
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
        assert errors == []


def test_the_page_may_not_load_anything(browser, page_file, tmp_path):
    text = page_file.read_text()
    assert not re.search("https?://", text)
    # The browser refuses to load an image from elsewhere.
    loading = tmp_path / "loading.html"
    loading.write_text(text.replace("<h2>", '<img src="http://example.org/x.png"><h2>', 1))
    refused = []
    page = browser.new_page()
    page.on("console", lambda message: refused.append(message.text))
    page.goto(loading.as_uri())
    page.close()
    assert any("Content Security Policy" in message for message in refused)
