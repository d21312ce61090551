"""A browser for the tests that look at pages."""

from __future__ import annotations

import shutil

import pytest


def chromium():
    """A fixture of a headless chromium; the module that asks is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not (program and driver):
        pytest.skip("no chromium with its chromedriver on the PATH", allow_module_level=True)

    @pytest.fixture(scope="module")
    def browser(tmp_path_factory):
        options = webdriver.ChromeOptions()
        options.binary_location = program
        folder = tmp_path_factory.mktemp("browser")
        for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
            options.add_argument(switch)
        options.add_argument(f"--user-data-dir={folder}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        yield opened
        opened.quit()

    return browser
