"""InferenceService as the deploy step creates it: which model answers, and what its pods ask for."""

import json
from typing import Any

from components.deploy.kserve.inference_service import (
    ModelVersion,
    inference_service,
    model_patch,
    previous_model,
    requested_model,
    transformer_patch,
    with_model,
)

FIRST = ModelVersion(1, "s3://runs/a", "d1", "id1")
SECOND = ModelVersion(2, "s3://runs/b", "d2", "id2")


def variables(container: dict[str, Any]) -> dict[str, str]:
    fields = {entry["name"]: entry.get("valueFrom", {}).get("fieldRef", {}) for entry in container["env"]}
    return {name: field.get("fieldPath", "") for name, field in fields.items()}


def test_pods_name_the_id_of_their_model_and_the_previous_one() -> None:
    service = {"spec": model_patch(SECOND, FIRST)["spec"]}
    annotations = service["spec"]["predictor"]["annotations"]
    assert annotations.get("taxonflow.dev/model-id") == "id2"
    assert (requested_model(service), previous_model(service)) == (SECOND, FIRST)
    assert repr([requested_model(service), previous_model(service)]) == repr([SECOND, FIRST])


def test_the_transformer_reads_the_versions_of_all_models_that_may_answer() -> None:
    transformer = with_model(inference_service("forams"), FIRST)["spec"]["transformer"]
    path = variables(transformer["containers"][0]).get("TAXONFLOW_MODEL_VERSIONS")
    assert path == "metadata.annotations['taxonflow.dev/model-versions']"
    assert json.loads(transformer["annotations"]["taxonflow.dev/model-versions"]) == {"id1": 1}
    annotations = transformer_patch(SECOND, FIRST, ModelVersion(3, "s3://runs/c"))["annotations"]
    assert json.loads(annotations["taxonflow.dev/model-versions"]) == {"id1": 1, "id2": 2}
