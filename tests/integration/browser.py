"""Chromium without a window: a page is opened, asked things by a script of the test, and answers."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
_COLLECT = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push(event.message || `${event.target.tagName} not loaded`), true);
addEventListener("securitypolicyviolation", (event) => problems.push(`${event.violatedDirective}: ${event.blockedURI}`));
</script>"""
_ANSWER = """<script>
(() => {{
  const press = (target, key) => target.dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true, cancelable: true }}));
  const click = (target) => target.dispatchEvent(new MouseEvent("click", {{ bubbles: true, cancelable: true }}));
  let answer;
  try {{ answer = (() => {{ {script} }})(); }} catch (error) {{ answer = String(error); }}
  const result = document.createElement("pre");
  result.id = "answer-of-the-test";
  result.textContent = JSON.stringify({{ answer, problems }});
  document.body.append(result);
}})();
</script>"""


def ask(page: str, script: str, folder: Path, *, dark: bool = False, width: int = 1180) -> object:
    """Open a page, run the body of a function in it, and return what that returns.

    Args:
        page: HTML.
        script: JavaScript with a ``return``; ``click(element)`` and ``press(element, key)`` are there.
        folder: Where the page and the browser's profile may go.
        dark: Whether the user prefers dark pages.
        width: Of the window, in pixels.
    """
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    assert program is not None, "Chromium is not there: `make test` installs it, or apt-get install chromium."
    path = folder / "asked.html"
    asked = page.replace("<head>", f"<head>{_COLLECT}", 1)
    path.write_text(asked.replace("</body>", _ANSWER.format(script=script) + "</body>"), encoding="utf-8")
    command = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},2000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r'<pre id="answer-of-the-test">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:] + done.stdout[-500:]
    result = json.loads(html.unescape(found.group(1)))
    assert result["problems"] == []
    return result["answer"]
