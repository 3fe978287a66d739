"""Run a pipeline or a component, each step with the interpreter and the sources of its image.

`python -m tests.images.run_steps` reads one JSON line: `call` ("module:name" of a function that returns the pipeline or
component, or of the component itself), `arguments`, `root`, and `images` (interpreter and folder of the sources by the
name of an image). It prints the outputs as the last line.
"""

import importlib
import json
import sys
from typing import Any

from kfp import local
from kfp.local import status, subprocess_task_handler

from pipelines.local.runner import with_interpreter

_IMAGES: dict[str, list[str]] = {}


def run_in_image(handler: subprocess_task_handler.SubprocessTaskHandler) -> status.Status:
    """Run a task as kfp's runner does, in the environment of its image."""
    interpreter, sources = _IMAGES[handler.image.rpartition("/")[2].partition(":")[0]]
    command = with_interpreter(handler.full_command, interpreter)
    environment = {**handler.env_vars, "PYTHONPATH": sources, "PYTHONNOUSERSITE": "1"}
    code = subprocess_task_handler.run_local_subprocess(full_command=command, env_vars=environment)
    return status.Status.SUCCESS if code == 0 else status.Status.FAILURE


def main() -> int:
    """Run what standard input names; return 0 if every task succeeded."""
    request = json.loads(sys.stdin.readline())
    _IMAGES.update(request["images"])
    subprocess_task_handler.SubprocessTaskHandler.run = run_in_image
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=request["root"])
    task = _callable(request["call"])(**request["arguments"])
    outputs = {name: getattr(value, "path", value) for name, value in task.outputs.items()}
    sys.stdout.write(f"{json.dumps(outputs)}\n")
    return 0


def _callable(name: str) -> Any:
    module, _, attribute = name.partition(":")
    pipeline, dot, key = attribute.partition(".")
    value = getattr(importlib.import_module(module), pipeline)
    return value(None)[key] if dot else value


if __name__ == "__main__":
    sys.exit(main())
