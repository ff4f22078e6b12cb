"""A real Chromium, driven through ChromeDriver's WebDriver protocol."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

AXE = Path(__file__).parents[1] / ".venv/axe.min.js"

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs chromium and chromedriver (apt-get install chromium chromium-driver)",
)
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="needs .venv/axe.min.js (make test-slow fetches it)")


class Browser:
    """One window. Everything it asks for and prints is kept."""

    def __init__(self):
        self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self._driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                break
        self._at = f"http://127.0.0.1:{found[1]}/session"
        args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        args += ["--disable-background-networking", "--disable-component-update"]
        options = {"goog:chromeOptions": {"args": args}, "unhandledPromptBehavior": "ignore"}
        logs = {"goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = self._ask("", {"capabilities": {"alwaysMatch": options | logs}})
        self._at += f"/{session['sessionId']}"

    def close(self):
        try:
            urlopen(Request(self._at, method="DELETE"), timeout=30).close()
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._driver.stdout.close()

    def _ask(self, path, body):
        request = Request(self._at + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, page):
        """Opens a file or an address."""
        self.network(), self.console()
        self._ask("/url", {"url": page.as_uri() if isinstance(page, Path) else page})

    def run(self, script, *args):
        """The value of a script's `return`; a promise is awaited."""
        return self._ask("/execute/sync", {"script": script, "args": args})

    def look(self, width=1280, height=900, dark=False):
        """Sets the size of the window, and light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.chrome("Emulation.setDeviceMetricsOverride", size)
        self.chrome("Emulation.setEmulatedMedia", {"features": [scheme]})

    def chrome(self, command, parameters):
        """Asks by Chrome's own protocol."""
        return self._ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self):
        """Lines since the last call."""
        return [line["message"] for line in self._ask("/se/log", {"type": "browser"})]

    def network(self):
        """Addresses asked for since the last call."""
        events = [json.loads(line["message"])["message"] for line in self._ask("/se/log", {"type": "performance"})]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def violations(self):
        """What axe finds wrong, as (rule, element)."""
        found = self.run(f"{AXE.read_text()}\nreturn axe.run().then(r => r.violations)")
        return [(one["id"], node["html"][:200], node["failureSummary"]) for one in found for node in one["nodes"]]
