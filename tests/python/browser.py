# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium over the DevTools protocol, by its pipe (no port, no library): opens a page and tells what happened."""
import base64
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find():
    """A Chromium on this machine, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """with Browser(profile_folder) as browser: page = browser.open(path)"""

    def __init__(self, profile, seconds=60):
        self.seconds, self.number, self.events, self.rest = seconds, 0, [], b""
        read_commands, self.commands = os.pipe()
        self.answers, write_answers = os.pipe()
        # The program expects its pipe as 3 and 4; they are moved out of the way of each other first.
        shell = f"exec 13<&{read_commands} 14>&{write_answers}; exec 3<&13 4>&14 13<&- 14>&-; exec \"$@\""
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", find(), "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
             f"--user-data-dir={profile}", *sandbox], pass_fds=(read_commands, write_answers), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_commands)
        os.close(write_answers)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        try:
            self.call("Browser.close")
        except (OSError, RuntimeError):
            pass
        os.close(self.commands)
        os.close(self.answers)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def receive(self, seconds):
        """The next message, or None when there is none in time."""
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                return None
            piece = os.read(self.answers, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive(self.seconds)
            if answer is None:
                raise RuntimeError(f"no answer to {method}")
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, path, **size):
        return Page(self, path, **size)


class Page:
    """events: of the protocol since it was opened; ready when the load event has come."""

    def __init__(self, browser, path, width=1280, height=900, dark=False, scale=1, mobile=False):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        browser.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.wait("Page.loadEventFired")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def wait(self, method):
        end = time.monotonic() + self.browser.seconds
        while not any(e.get("method") == method for e in self.browser.events):
            message = self.browser.receive(max(0, end - time.monotonic()))
            if message is None:
                raise RuntimeError(f"{method} did not come")
            self.browser.events.append(message)

    def run(self, expression):
        """The value of a JavaScript expression."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(json.dumps(done["exceptionDetails"]))
        return done["result"].get("value")

    def settle(self):
        """Waits until what was asked for is drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def complaints(self):
        """Everything the console would show as an error or a warning, and every exception."""
        self.run("0")
        bad = []
        for event in self.browser.events:
            method, about = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                bad.append(json.dumps(about))
            if method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                bad.append(about["entry"]["text"])
            if method == "Runtime.consoleAPICalled":
                bad.append(json.dumps(about["args"]))
        return bad

    def requests(self):
        """Every address asked for but the page's own and those that hold their data themselves."""
        self.run("0")
        asked = [e["params"]["request"]["url"] for e in self.browser.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def picture(self, path, whole=True):
        raw = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(raw))

    def pdf(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name)
