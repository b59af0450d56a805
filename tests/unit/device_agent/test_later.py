"""Modules that wait until they are used: the agent does without them, and whoever asks gets them."""

from __future__ import annotations

import subprocess
import sys

import pytest


def printed(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_running_agent_has_not_loaded_what_it_hardly_ever_uses() -> None:
    found = printed(
        "import sys\n"
        "from device_agent.later import import_later\n"
        "import_later()\n"
        "import device_agent.cli, device_agent.agent\n"
        "print(*(name for name in ('difflib', 'urllib.request') if '__file__' in vars(sys.modules[name])))\n"
        "print(*(name for name in ('ast', 'http.client', 'email.message') if name in sys.modules))\n"
    )
    assert found == []


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("import difflib; print(difflib.get_close_matches('pth', ['path'])[0])", "path"),
        ("from inspect import signature; print(len(signature(import_later).parameters))", "1"),
        ("import urllib.request; print(urllib.request.Request('http://a').host)", "a"),
        ("import urllib.request, inspect; print(inspect.getmodule(urllib.request.Request).__name__)", "urllib.request"),
        ("import inspect; from dataclasses import dataclass; print(hasattr(inspect, '__path__'))", "False"),
        ("import inspect\ntry: inspect.nothing\nexcept AttributeError as error: print('nothing' in str(error))", "True"),
    ],
)  # fmt: skip
def test_whoever_uses_one_gets_it(use: str, expected: str) -> None:
    begin = "import sys\nfor name in ('difflib', 'inspect'): sys.modules.pop(name, None)\n"
    assert printed(f"{begin}from device_agent.later import import_later\nimport_later()\n{use}") == [expected]
