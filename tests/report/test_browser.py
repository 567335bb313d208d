"""The report in a real browser: pictures decode, nothing is fetched, nothing complains, keys work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastqmri.core import Flag
from fastqmri.report import write_index, write_report
from report.samples import DIFFUSION, flagged, sample

pytestmark = pytest.mark.browser

AFFINE = torch.diag(torch.tensor([-2.0, 2.0, 3.0, 1.0]))
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import shutil

    webdriver = pytest.importorskip("selenium.webdriver")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("chromedriver is not installed (Debian: apt-get install chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    contents = {
        "volume": flagged(sample(affine=AFFINE), int(Flag.LOW_SNR), 0.2),
        "tensor": sample("dti", DIFFUSION, (8, 9, 3)),
        "voxel": sample(shape=(1,)),
    }
    paths = {name: folder / f"{name}_report.html" for name in contents}
    for name, content in contents.items():
        write_report(paths[name], content)
    write_index(folder / "index.html", list(paths.values()))
    return {**paths, "index": folder / "index.html"}


def opened(browser: Any, path: Path) -> Any:
    browser.get_log("performance")
    browser.get(path.as_uri())
    return browser


@pytest.mark.parametrize("name", ["volume", "tensor", "voxel", "index"])
def test_page_opens_without_complaint_or_network(browser, pages, name):
    page = opened(browser, pages[name])
    assert page.title
    widths = page.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert all(width > 0 for width in widths)
    assert widths or name == "index"
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requested = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert pages[name].as_uri() in requested, "the log records requests at all"
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requested if url.startswith("file:")]) == 1


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["volume", "tensor", "index"])
def test_page_fits_its_window(browser, pages, name, width):
    browser.set_window_size(width, 900)
    page = opened(browser, pages[name])
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    browser.set_window_size(1280, 1000)


def test_views_switch_by_key(browser, pages):
    from selenium.webdriver.common.keys import Keys

    page = opened(browser, pages["volume"])
    visible = (
        "const first = document.querySelector('figure:has(.switch)');"
        "return [...first.querySelectorAll('.view')].map(view => !view.hidden)"
    )
    assert page.execute_script(visible) == [True, False, False, False]
    radio = page.find_element("css selector", ".switch input")
    radio.send_keys(Keys.ARROW_RIGHT)
    assert page.execute_script(visible) == [False, True, False, False]


def test_pictures_enlarge_and_close(browser, pages):
    from selenium.webdriver.common.keys import Keys

    page = opened(browser, pages["volume"])
    page.find_element("css selector", "#inputs ~ figure .plate").send_keys(Keys.ENTER)
    assert page.execute_script("return document.querySelector('dialog').open")
    small, large = page.execute_script(
        "return ['.plate img', 'dialog img'].map(s => document.querySelector(s).clientWidth)"
    )
    assert large >= small
    page.find_element("css selector", "dialog").send_keys(Keys.ESCAPE)
    assert not page.execute_script("return document.querySelector('dialog').open")


def test_methods_are_copied(browser, pages):
    page = opened(browser, pages["volume"])
    button = page.find_element("css selector", "#methods ~ .copied button")
    page.execute_script("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", button)
    button.click()
    assert button.text == "Copied"
    assert "estimated voxel by voxel" in page.execute_script("return getSelection().toString()")


def test_everything_interactive_is_reached_by_tab(browser, pages):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = opened(browser, pages["voxel"])
    wanted = page.execute_script(
        "return document.querySelectorAll('a[href], button:not([hidden]), summary, pre').length"
        " - document.querySelectorAll('details:not([open]) :is(button, pre), .view[hidden] button').length"
    )
    reached = set()
    for _ in range(wanted + 30):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.execute_script("return document.activeElement.outerHTML.slice(0, 200)"))
    tags = {html.split()[0].strip("<>").split(">")[0] for html in reached}
    assert {"a", "button", "input", "summary", "pre"} <= tags


def test_print_shows_all_views(browser, pages):
    page = opened(browser, pages["volume"])
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return [...document.querySelectorAll('.view')].map(view => getComputedStyle(view).display)"
    assert "none" not in page.execute_script(shown)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_schemes(browser, pages, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page = opened(browser, pages["volume"])
    colours = page.execute_script(
        "return ['body', '.soft', '.verdict h2', 'a', 'summary', 'caption'].map(s => "
        "getComputedStyle(document.querySelector(s)).color)"
        ".concat(getComputedStyle(document.body).backgroundColor)"
    )
    *inks, paper = (luminance(colour) for colour in colours)
    for ink in inks:
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(colour: str) -> float:
    channels = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
