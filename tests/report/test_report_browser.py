"""The page in a real browser: it steps, says what Python says, and fits a phone. Skipped where there is no browser."""

from __future__ import annotations

import re
import time

import pytest
import torch

from browsing import chromium
from elman.jobs import Forecaster
from elman.report import draw, explain, write_page

browser = chromium()
LONG = 10_000


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A short page and one of 10,000 steps, with what they explain."""
    folder = tmp_path_factory.mktemp("pages")
    torch.manual_seed(0)
    forecaster = Forecaster("lstm", hidden=20, context=12, epochs=1, split=(10, 0, 90), network_alone=True)
    forecaster.fit(torch.sin(torch.arange(LONG + 500) / 5).numpy())
    found = {}
    for name, steps in (("short", None), ("long", LONG)):
        explanation = explain(forecaster, steps)
        pictures = draw(explanation, folder) if name == "short" else {}
        found[name] = (write_page(folder / f"{name}.html", explanation, pictures, name), explanation)
    return found


@pytest.fixture
def opened(browser, pages):
    def open_page(name, width=1000):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(pages[name][0].as_uri())
        return browser

    yield open_page
    errors = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors


def step(page):
    return int(page.find_element("id", "step").get_attribute("value"))


def press(page, key):
    page.find_element("id", "stepper").send_keys(key)


def cell(page, label, unit):
    """The number shown of one unit."""
    said = page.find_element("css selector", f'[aria-label^="{label}, unit {unit}:"]').get_attribute("aria-label")
    return float(said.split(": ")[1])


@pytest.mark.full
def test_it_steps_by_button_and_key(opened):
    from selenium.webdriver.common.keys import Keys

    page = opened("short")
    assert step(page) == 1
    for number, button in [(2, "on"), (3, "on"), (2, "back"), (12, "last"), (1, "first")]:
        page.find_element("id", button).click()
        assert step(page) == number
    for number, key in [
        (2, Keys.ARROW_RIGHT),
        (12, Keys.END),
        (11, Keys.ARROW_LEFT),
        (1, Keys.HOME),
        (1, Keys.ARROW_LEFT),
    ]:
        press(page, key)
        assert step(page) == number
    page.find_element("id", "slider").send_keys(Keys.ARROW_RIGHT)
    assert step(page) == 2
    box = page.find_element("id", "step")
    box.clear()
    box.send_keys("99\n")
    assert step(page) == 12
    assert not page.find_element("id", "on").is_enabled()


@pytest.mark.full
@pytest.mark.parametrize("name", ["short", "long"])
def test_its_numbers_are_python_s(opened, pages, name):
    page, chosen = opened(name), pages[name][1].sample
    page.find_element("id", "last").click()
    recorded = {n: v.detach() for n, v in chosen.layer.record(chosen.x).values[0][0].items()}
    shown = page.find_elements("css selector", 'button.cell[aria-label^="f[t]"]')
    units = [int(re.search(r"unit (\d+):", one.get_attribute("aria-label"))[1]) for one in shown]
    assert 0 < len(units) < 20  # of 20 units some are shown
    for value in ("f", "c", "h"):
        for unit in units:
            want = float(recorded[value][-1, 0, unit])
            assert cell(page, f"{value}[t]", unit) == pytest.approx(want, rel=1e-3, abs=1e-6)
    assert cell(page, "h[t-1]", units[0]) == pytest.approx(float(recorded["h"][-2, 0, units[0]]), rel=1e-3, abs=1e-6)


def test_the_unrolled_network_shows_the_steps_around_this_one(opened, pages):
    page, chosen = opened("short"), pages["short"][1].sample
    for _ in range(5):
        page.find_element("id", "on").click()
    boxes = [group.text.split() for group in page.find_elements("css selector", "#unrolled g")]
    assert [words[words.index("step") + 1] for words in boxes] == ["4", "5", "6", "7", "8"]
    unit = int(page.find_element("id", "unit").text.split()[1].rstrip(","))
    h = chosen.layer.record(chosen.x).values[0][0]["h"][:, 0, unit]
    for t, words in enumerate(boxes, start=3):
        assert float(words[words.index("h") + 1]) == pytest.approx(h[t].item(), rel=1e-3, abs=1e-6)
    page.find_elements("css selector", "#unrolled g")[0].click()
    assert step(page) == 4
    assert "here" in page.find_elements("css selector", "#unrolled g")[2].get_attribute("class")


def test_every_picture_says_what_it_shows(opened):
    captions = [one.text for one in opened("short").find_elements("tag name", "figcaption")]
    assert len(captions) >= 5
    assert all("Normal:" in caption and "If not:" in caption for caption in captions)


def test_the_equations_hold_the_chosen_unit_s_values(opened, pages):
    page, chosen = opened("short"), pages["short"][1].sample
    button = page.find_elements("css selector", 'button.cell[aria-label^="h[t],"]')[3]
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    unit = int(button.find_element("tag name", "small").text)
    lines = {
        one.text.split(" = ")[0]: one.text.rsplit(" = ", 1)[1] for one in page.find_elements("class name", "equation")
    }
    for name, values in chosen.layer.record(chosen.x).values[0][0].items():
        assert float(lines[f"{name}[t]"]) == pytest.approx(values[0, 0, unit].item(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", ["short", "long"])
def test_it_fits_a_phone(opened, name):
    page = opened(name, width=320)
    width = "return [document.documentElement.scrollWidth, window.innerWidth]"
    assert page.execute_script(width) == [320, 320]
    page.find_element("id", "on").click()
    assert step(page) == 2


def test_ten_thousand_steps_are_quick(opened):
    start = time.perf_counter()
    page = opened("long")
    page.find_element("id", "last").click()
    assert step(page) == LONG
    assert time.perf_counter() - start < 20  # a second alone on the machine
    many = """
        const start = performance.now();
        for (let i = 0; i < 100; i++) document.getElementById("back").click();
        return performance.now() - start;"""
    assert page.execute_script(many) < 5000
    assert step(page) == LONG - 100


def test_every_control_has_a_name(opened):
    page = opened("short")
    nameless = [
        one.get_attribute("outerHTML")
        for one in page.find_elements("css selector", "#stepper button, #stepper input, #stepper select, img")
        if one.is_displayed() and not one.accessible_name
    ]
    assert not nameless
