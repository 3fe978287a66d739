"""The deploy step in a pod, without Kubeflow Pipelines: the function that the component `deploy` calls.

The argument is a JSON object with the keys artifact, uri, name, target, canary, slices and monitored_models. The last
line of the output is a JSON object with the outcome, the version and the address.
"""

import json
import sys
from pathlib import Path

from components.deploy.canary.settings import CanaryTrial, read_settings
from components.deploy.records import DeployRecords
from components.deploy.targets import deploy_model
from components.shared.errors import exit_on_error

call = json.loads(sys.argv[1])
with exit_on_error("deploy"):
    result = deploy_model(
        Path(call["artifact"]),
        call["uri"],
        call["name"],
        call["target"],
        CanaryTrial(read_settings(call["canary"]), Path(call["slices"])),
        DeployRecords(monitored_models=call["monitored_models"]),
    )
sys.stdout.write(result.markdown(call["name"]) + "\n")
facts = {"outcome": result.outcome, "version": result.version, "address": result.address}
sys.stdout.write(json.dumps(facts) + "\n")
