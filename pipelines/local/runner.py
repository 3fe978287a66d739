"""The pipeline's process in a local run: `python -m pipelines.local.runner`.

It reads one JSON line (pipeline, arguments, root) from standard input and writes the log to standard output. When
standard input is closed, because the parent ended or was killed, it kills its whole process group.
"""

import json
import os
import signal
import sys
import threading

from kfp import local

from pipelines.training import build_pipelines


def main() -> int:
    """Run the pipeline that standard input names; return 0 if every task succeeded."""
    call = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=call["root"])
    try:
        build_pipelines(None)[call["pipeline"]](**call["arguments"])
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
    os._exit(code)  # the thread that reads standard input would block a normal exit
