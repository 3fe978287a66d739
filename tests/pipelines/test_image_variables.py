"""The registry and the tag of a compiled pipeline."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.compile import parse_documents


def test_the_steps_name_images_of_the_registry_compiled_in(tmp_path: Path) -> None:
    variables = {"TAXONFLOW_REGISTRY": "registry.example.org/lab", "TAXONFLOW_TAG": "1.2"}
    command = [sys.executable, "-m", "pipelines.compile", "--preset", "smoke", "--out", str(tmp_path)]
    subprocess.run(command, env={**os.environ, **variables}, check=True, capture_output=True)
    documents = [parse_documents(path.read_text())[0] for path in tmp_path.glob("*.yaml")]
    containers = [
        executor["container"]
        for document in documents
        for executor in document["deploymentSpec"]["executors"].values()
        if "container" in executor
    ]
    assert len(containers) > 20
    for container in containers:
        assert container["image"].startswith("registry.example.org/lab/taxonflow/")
        assert container["image"].endswith(":1.2")
        environment = {item["name"]: item["value"] for item in container.get("env", [])}
        assert environment.items() >= variables.items()
