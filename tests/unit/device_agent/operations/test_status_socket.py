from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NO_DESCRIPTOR_LEFT = """
import resource, socket, sys
from pathlib import Path
from device_agent.operations.status_socket import StatusServer

most = resource.getrlimit(resource.RLIMIT_NOFILE)
def answer_and_leave_no_descriptor(answers):
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
    answers.put({"agent": {}})

first, second = (socket.socket(socket.AF_UNIX) for _ in range(2))
server = StatusServer(Path("agent.sock"), answer_and_leave_no_descriptor)
first.connect("agent.sock")
print(first.recv(100))
second.connect("agent.sock")
second.settimeout(0.5)
try:
    second.recv(100)
except TimeoutError:
    print("nobody can be let in")
resource.setrlimit(resource.RLIMIT_NOFILE, most)
second.settimeout(30.0)
print(second.recv(100))
server.close()
"""


def test_who_asks_while_no_descriptor_is_left_is_answered_when_there_is_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_DESCRIPTOR_LEFT],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[4])},
        check=False,
    )
    said = b'{"agent": {}}'
    assert done.stdout.splitlines() == [str(said), "nobody can be let in", str(said)], done.stderr
