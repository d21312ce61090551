"""The exported page in a real browser: it says what Python says. Skipped where there is none."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from test_export_c import MODELS

from browsing import chromium
from elman.export.html import page
from elman.export.js import JsStep
from elman.layers.flat import flat_step
from elman.stepping.stream import Stream
from exported_cells import CELLS, exactly, network, sequence

browser = chromium()


@pytest.fixture
def opened(browser, tmp_path):
    def open_page(model, title="network"):
        file = tmp_path / "page.html"
        file.write_text(page(model, title), encoding="utf-8")
        browser.get(file.as_uri())
        return browser

    yield open_page
    errors = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors


RUN = """const done = {};
for (const [key, made] of Object.entries(MADE)) {
  const network = made.make(Float32Array.from(made.weights)), out = [];
  for (const inputs of made.inputs) out.push(Array.from(network.step(inputs).y));
  done[key] = out;
}
window.done = done;"""


def test_every_cell_says_the_same(browser, tmp_path):
    wanted, scripts, functions = {}, [], set()
    for key in CELLS:
        layer = network(key, torch.float32)
        x, extras = sequence(layer, 20, 1)
        step = JsStep(flat_step(layer))
        functions |= set(step.functions)
        given = {"x": x, **extras}
        inputs = [{name: given[name][t, 0].tolist() for name in step.flat.inputs} for t in range(len(x))]
        numbers = json.dumps(step.weights.tolist())
        scripts.append(f"{json.dumps(key)}: {{ make: {step.code}, weights: {numbers}, inputs: {json.dumps(inputs)} }}")
        # The page computes in double, with weights in float32: what is made of them, W - W^T, is rounded once.
        wanted[key] = exactly(layer, x, extras)[0][0][:, 0]
    code = "\n".join(sorted(functions)) + "\nconst MADE = {" + ",\n".join(scripts) + "};\n" + RUN
    (tmp_path / "cells.html").write_text(f"<!doctype html><meta charset=utf-8><script>{code}</script>")
    browser.get((tmp_path / "cells.html").as_uri())
    found = json.loads(browser.execute_script("return JSON.stringify(window.done)"))
    assert not browser.get_log("browser")
    for key, want in wanted.items():
        np.testing.assert_allclose(found[key], want, rtol=0, atol=1e-7 * np.abs(want).max(), err_msg=key)


@pytest.mark.parametrize("name", MODELS)
def test_every_task_says_the_same(opened, name):
    model = MODELS[name]().portable()
    driver, stream = opened(model), Stream(model)
    for value in model.example:
        want = stream.push(value)
    script = "STREAM.reset(); let said; for (const v of JSON.parse(arguments[0])) said = STREAM.push(v);"
    said = driver.execute_script(script + "return JSON.stringify(said)", json.dumps(model.example))
    np.testing.assert_allclose(np.ravel(json.loads(said)), np.ravel(want), rtol=1e-5, atol=1e-6)


def test_typing_changes_what_comes_next(opened):
    driver = opened(MODELS["text"]().portable(), 'hostile </script><script>alert("no")</script> & $MODEL')
    area = driver.find_element("css selector", "textarea")
    first = driver.execute_script("return JSON.stringify(STREAM.networks[0].state)")
    area.send_keys("te☃")
    assert driver.find_element("css selector", ".warning").text == "The network does not know ☃"
    assert driver.execute_script("return JSON.stringify(STREAM.networks[0].state)") != first
    before = len(area.get_attribute("value"))
    driver.find_element("id", "write").click()
    deadline = time.monotonic() + 20
    while len(area.get_attribute("value")) < before + 30:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert driver.title.startswith("hostile </script>")


@pytest.mark.full
def test_a_report_holds_the_network_to_try_it(browser, elman, tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be " * 20)
    assert elman("train", "generate", "text.txt", "--hidden", 8, "--epochs", 1, "-o", "r")[0] == 0
    assert elman("explain", "r", "--steps", 5)[0] == 0
    browser.get((tmp_path / "r" / "report.html").as_uri())
    browser.switch_to.frame(browser.find_element("id", "live"))
    area = browser.find_element("css selector", "textarea")
    first = browser.execute_script("return JSON.stringify(STREAM.networks[0].state)")
    area.send_keys("to")
    assert browser.execute_script("return JSON.stringify(STREAM.networks[0].state)") != first
    browser.switch_to.default_content()


def test_a_moved_point_moves_the_forecast(opened):
    driver = opened(MODELS["on a line"]().portable())
    first = driver.find_element("id", "numbers").text
    assert first.startswith("Forecast: ")
    driver.execute_script(
        "const value = document.querySelectorAll('input[type=range]')[1];"
        "value.value = value.max; value.dispatchEvent(new Event('input'))"
    )
    assert driver.find_element("id", "numbers").text != first
    wide = driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert wide
