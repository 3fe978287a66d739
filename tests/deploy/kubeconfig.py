"""Kubeconfig of a fake cluster."""

from pathlib import Path

import yaml


def write_kubeconfig(path: Path, server: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "step", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "step"}}],
        "current-context": "fake",
    }
    path.write_text(yaml.safe_dump(config))
