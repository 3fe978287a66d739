"""The pipeline's process in a local run: `python -m pipelines.local.runner`.

It reads one JSON line (pipeline, arguments, root) from standard input and writes the log to standard output. When
standard input is closed, because the parent ended or was killed, it kills its whole process group.
"""

import json
import os
import re
import shlex
import signal
import sys
import threading

from kfp import local
from kfp.local import subprocess_task_handler

from pipelines.training import build_pipelines


def main() -> int:
    """Run the pipeline that standard input names; return 0 if every task succeeded."""
    call = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    subprocess_task_handler.replace_python_executable = with_interpreter
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=call["root"])
    try:
        build_pipelines(None)[call["pipeline"]](**call["arguments"])
    except RuntimeError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


def with_interpreter(command: list[str], interpreter: str) -> list[str]:
    """Return a task's command with `python3` in its shell script replaced by the path of an interpreter.

    The runner of Kubeflow Pipelines replaces the string in the arguments too, where it may be part of a folder's name,
    and does not quote the path.

    Args:
        command: Command of a task: a shell, its options, the script, the component's source and arguments.
        interpreter: Path of the interpreter.
    """
    script = next(index for index, word in enumerate(command) if '"$@"' in word)
    with_path = re.sub(r"\bpython3\b", lambda _: shlex.quote(interpreter), command[script])
    return [*command[:script], with_path, *command[script + 1 :]]


def _end_with_parent() -> None:
    sys.stdin.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that reads standard input would block a normal exit
