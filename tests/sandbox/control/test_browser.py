"""Tests of the console in headless Chromium with scripts disabled."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oss2
import pytest

from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import PART, refused

pytestmark = pytest.mark.browser
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in WebDriver


class Browser:
    """Client of Chromium's WebDriver, which is JSON over HTTP."""

    def __init__(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            env={**os.environ, "HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._url = f"http://127.0.0.1:{port}"
        while not self._listens(port):
            time.sleep(0.05)
        switches = [
            "--headless=new",
            "--disable-gpu",
            "--window-size=1280,1600",
            "--blink-settings=scriptEnabled=false",
        ]
        switches += ["--no-sandbox"] if os.geteuid() == 0 else []
        capabilities = {"alwaysMatch": {"goog:chromeOptions": {"args": switches}}}
        self._url += f"/session/{self._send('/session', capabilities=capabilities)['sessionId']}"

    def _listens(self, port: int) -> bool:
        assert self._driver.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _send(self, path: str, *, method: str = "POST", **fields: Any) -> Any:
        body = None if method == "GET" else json.dumps(fields).encode()
        request = urllib.request.Request(f"{self._url}{path}", data=body, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Open a page."""
        self._send("/url", url=url)

    def find(self, selector: str) -> list[str]:
        """Return the elements of a CSS selector."""
        found = self._send("/elements", using="css selector", value=selector)
        return [each[ELEMENT] for each in found]

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        (element,) = self.find(selector)
        return str(self._send(f"/element/{element}/text", method="GET"))

    def write(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        (element,) = self.find(selector)
        self._send(f"/element/{element}/clear")
        self._send(f"/element/{element}/value", text=text)

    def click(self, selector: str) -> None:
        """Click on the first element of a selector."""
        self._send(f"/element/{self.find(selector)[0]}/click")

    def screenshot(self, path: Path) -> None:
        """Write a screenshot as a PNG file."""
        path.write_bytes(b64decode(self._send("/screenshot", method="GET")))

    def close(self) -> None:
        """End the browser and its driver."""
        self._send("", method="DELETE")
        self._driver.terminate()
        self._driver.wait(timeout=30)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Start Chromium."""
    if not shutil.which("chromedriver"):
        pytest.skip("apt-get install chromium chromium-driver")
    opened = Browser(tmp_path)
    yield opened
    opened.close()


def test_the_console_shows_the_state_and_controls_faults(
    sandbox: Sandbox, bucket: oss2.Bucket, browser: Browser, tmp_path: Path
) -> None:
    """The page lists buckets, an unfinished upload and a refusal. A fault is added, applied and removed."""
    bucket.put_object("golden/system.raw", b"x" * 1234)
    upload_id = bucket.init_multipart_upload("web/<b>system</b>.raw").upload_id
    bucket.upload_part("web/<b>system</b>.raw", upload_id, 1, b"z" * PART)
    sandbox.state.deny("oss:DeleteObject")
    with refused():
        bucket.delete_object("golden/system.raw")
    browser.open(f"{sandbox.url}/_sandbox/")
    assert "golden/system.raw 1234 Normal" in browser.text("#buckets")
    assert f"web/<b>system</b>.raw 1 {PART}" in browser.text("#buckets")
    assert "Action: oss:DeleteObject." in browser.text("#requests tr.refused")

    browser.write("#faults input[name=operation]", "GetObject")
    browser.write("#faults input[name=code]", "InternalError")
    browser.click("#faults fieldset button")
    assert "GetObject 503 InternalError 0 of 1" in browser.text("#faults table")
    with refused() as answer:
        bucket.get_object("golden/system.raw")
    assert answer == (503, "InternalError")
    browser.click("header a[href='/_sandbox/?refresh=1']")
    assert "No faults are active." in browser.text("#faults")
    assert "by a fault: answer" in browser.text("#requests")

    browser.write("#faults input[name=count]", "all")
    browser.click("#faults fieldset button")
    browser.click("#faults td form button")
    assert sandbox.faults.active() == ()
    before_s = sandbox.clock.now_s()
    browser.click("header form:nth-of-type(3) button")
    assert sandbox.clock.now_s() >= before_s + 3600
    browser.screenshot(tmp_path / "console.png")
    assert (tmp_path / "console.png").stat().st_size > 10_000
