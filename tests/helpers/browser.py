"""A headless Chromium in which tests open a page from disk; a test is skipped where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

READY = "return document.documentElement.dataset.ready || null"


@contextmanager
def opened(width: int = 1280, height: int = 900, *, dark: bool = False) -> Iterator[Browser]:
    """Start the browser with a window of this size."""
    driver, binary = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or binary is None:
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield Browser(chrome)
    finally:
        chrome.quit()


class Browser:
    """What the tests do with a page."""

    def __init__(self, chrome: Any) -> None:
        self.chrome = chrome

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a file and wait until it has drawn itself."""
        from selenium.webdriver.support.ui import WebDriverWait

        self.chrome.get("about:blank")
        self.chrome.get(page.resolve().as_uri() + fragment)
        WebDriverWait(self.chrome, 30).until(lambda chrome: chrome.execute_script(READY))

    def run(self, script: str, *values: Any) -> Any:
        """Run a script in the page; `return` gives its value."""
        return self.chrome.execute_script(script, *values)

    def texts(self, selector: str, attribute: str = "") -> list[str]:
        """Return the text, or an attribute, of everything that a selector finds."""
        told = f"getAttribute('{attribute}')" if attribute else "textContent"
        script = f"return [...document.querySelectorAll(arguments[0])].map((x) => x.{told})"
        found: list[str] = self.run(script, selector)
        return found

    def choose(self, name: str, value: str) -> None:
        """Choose in a list as a reader does, by its value."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import Select

        Select(self.chrome.find_element(By.ID, name)).select_by_value(value)

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.chrome).send_keys(key).perform()

    def complaints(self) -> list[str]:
        """Return what the console was told since it was last asked."""
        return [entry["message"] for entry in self.chrome.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses asked for since this was last asked, without files and data in the page."""
        found = []
        for entry in self.chrome.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

    def picture(self, path: Path) -> None:
        """Save the whole page as a PNG file."""
        import base64

        width, height = self.run(
            "return [innerWidth, Math.min(12000, document.documentElement.scrollHeight)]"
        )
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        options = {"captureBeyondViewport": True, "clip": clip}
        shot = self.chrome.execute_cdp_cmd("Page.captureScreenshot", options)
        path.write_bytes(base64.b64decode(shot["data"]))
