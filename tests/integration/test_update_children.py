"""The child processes of updates, where the agent is not an ordinary process."""

from __future__ import annotations

import subprocess
import sys

FIRST_PROCESS = """
import os, queue
from device_agent.update.children import Children
from device_agent.update.jobs import CheckJob, Network

assert os.getpid() == 1, os.getpid()
network = Network(
    url="http://127.0.0.1:1", stall_seconds=1.0, min_bytes_per_second=1.0, tls_ca=None, tls_cert=None, tls_key=None
)
answers = queue.SimpleQueue()
job = CheckJob(network=network, root="/nonexistent", cache="/nonexistent", subjects=("device/a",), targets=())
Children(answers.put).start(job, timeout_seconds=60.0)
print(answers.get(timeout=60.0).code)
"""


def test_an_agent_that_is_the_first_process_of_a_container_can_update() -> None:
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", sys.executable, "-c", FIRST_PROCESS],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout != "died\n", done.stderr
    assert done.returncode == 0, done.stderr
