"""The drift check in a pod, without Kubeflow Pipelines: the function that the component `check_drift` calls.

The argument is a JSON object with the keys events, models, name, windows and sizes (those of the windows). The last
line of the output is a JSON object with the version, the state and the number of windows.
"""

import json
import sys

from components.shared.errors import exit_on_error
from monitoring.recurring.check import check, check_config

call = json.loads(sys.argv[1])
with exit_on_error("check_drift"):
    config = check_config(events=call["events"], repository=call["models"], sustained_windows=2, **call["sizes"])
    result = check(call["name"], call["windows"], config)
facts = {"version": result.version, "state": result.state, "windows": len(result.windows)}
sys.stdout.write(json.dumps(facts) + "\n")
