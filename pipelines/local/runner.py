"""Runs a pipeline on this machine, as a process of its own: `python -m pipelines.local.runner`.

Reads one JSON line from standard input (pipeline, arguments, root) and leaves the log on standard output. When standard
input closes, because the parent ended or was killed, every process of the run is ended too.
"""

import json
import os
import signal
import sys
import threading

from kfp import local

from pipelines.training import PIPELINES


def main() -> int:
    """Runs the pipeline that standard input names; returns 0 if every task succeeded."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=order["root"])
    try:
        PIPELINES[order["pipeline"]](**order["arguments"])
    except RuntimeError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the watching thread blocks an orderly end
