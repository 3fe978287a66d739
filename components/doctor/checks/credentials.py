"""Secrets of the run and of the endpoint. Only names of keys and annotations are looked at, never values."""

from components.doctor.checks.artifact_store import uses_own_store
from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import INSTALL_KUBEFLOW, KUBEFLOW_NAMESPACE, Examination, apply_overlay
from components.doctor.findings import Answer, met, not_allowed, not_met

ARTIFACT_SECRET = "mlpipeline-minio-artifact"  # noqa: S105 a secret's name
VOLUMES_SECRET = "taxonflow-volumes"  # noqa: S105 a secret's name
MODEL_SECRET = "taxonflow-model-storage"  # noqa: S105 a secret's name
MODEL_READER = "taxonflow-model-reader"
STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
OWN_STORE = {
    "serving.kserve.io/s3-endpoint": f"seaweedfs.{KUBEFLOW_NAMESPACE}:9000",
    "serving.kserve.io/s3-usehttps": "0",
    "serving.kserve.io/s3-region": "us-east-1",
}
"""Annotations of the secret with which KServe reads models in Kubeflow's own store."""


def artifact_secret(examination: Examination) -> Answer:
    """Check that the namespace has the keys of Kubeflow's artifact store."""
    namespace = examination.namespace
    copy = (
        f"kubectl get secret {ARTIFACT_SECRET} -n {KUBEFLOW_NAMESPACE} -o yaml | "
        f"sed 's/namespace: .*/namespace: {namespace}/' | kubectl apply -f -"
    )
    create = INSTALL_KUBEFLOW if namespace == KUBEFLOW_NAMESPACE else copy
    if not uses_own_store(examination):
        return met("not needed: the artifacts are not in Kubeflow's own store")
    try:
        secret = _secret(examination, namespace, ARTIFACT_SECRET)
    except NotAllowedError as error:
        return _hidden(namespace, ARTIFACT_SECRET, error)
    if secret is None:
        return not_met(f"there is no secret {ARTIFACT_SECRET} in {namespace}", create)
    return _with_keys(secret, ("accesskey", "secretkey"), create)


def volumes_secret(examination: Examination) -> Answer:
    """Check that the secret of the user's object store has its keys; without a secret the pod's identity is used."""
    namespace = examination.namespace
    create = (
        f"kubectl create secret generic {VOLUMES_SECRET} -n {namespace} "
        f"{' '.join(f'--from-literal={key}=...' for key in STORE_KEYS)} --dry-run=client -o yaml | kubectl apply -f -"
    )
    try:
        secret = _secret(examination, namespace, VOLUMES_SECRET)
    except NotAllowedError as error:
        return _hidden(namespace, VOLUMES_SECRET, error)
    if secret is None:
        return met(f"no secret {VOLUMES_SECRET}: volumes are read with the identity of the pod")
    return _with_keys(secret, STORE_KEYS, create)


def model_reader(examination: Examination) -> Answer:
    """Check that the predictor's account exists, with each secret that it lists."""
    namespace = examination.endpoint_namespace
    try:
        account = examination.cluster.read(f"/api/v1/namespaces/{namespace}/serviceaccounts/{MODEL_READER}")
    except NotAllowedError as error:
        return not_allowed(
            f"{MODEL_READER} cannot be read: {error}",
            f"kubectl get serviceaccount {MODEL_READER} -n {namespace} -o yaml",
        )
    if account is None:
        return not_met(f"there is no service account {MODEL_READER} in {namespace}", apply_overlay(namespace))
    for name in _listed_secrets(account):
        try:
            secret = _secret(examination, namespace, name)
        except NotAllowedError as error:
            return _hidden(namespace, name, error)
        if secret is None:
            return not_met(
                f"{MODEL_READER} lists the secret {name}, which does not exist: KServe refuses the predictor's pod",
                f"kubectl patch serviceaccount {MODEL_READER} -n {namespace} --type merge "
                """-p '{"secrets": null}'   # or create the secret""",
            )
    return met(f"{namespace}/{MODEL_READER}")


def model_secret(examination: Examination) -> Answer:
    """Check that the secret with which KServe reads models from Kubeflow's own store has its keys and annotations."""
    namespace = examination.endpoint_namespace
    try:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{MODEL_READER}"
        names = _listed_secrets(examination.cluster.read(path) or {})
        secrets = {name: _secret(examination, namespace, name) for name in names}
    except NotAllowedError as error:
        return _hidden(namespace, MODEL_SECRET, error)
    if not uses_own_store(examination):
        return met("models are read with the predictor's identity" if not names else f"{', '.join(names)} of the store")
    present_secrets = {name: secret for name, secret in secrets.items() if secret is not None}
    if not present_secrets:
        return not_met(
            f"{MODEL_READER} has no secret for Kubeflow's own store, which holds the models",
            "kubectl apply -k manifests/overlays/<yours>   # with the component storage-secret",
        )
    faults = [_store_fault(name, secret, namespace) for name, secret in present_secrets.items()]
    return next((fault for fault in faults if fault.command == ""), faults[0])


def _store_fault(name: str, secret: Document, namespace: str) -> Answer:
    annotations = (secret.get("metadata") or {}).get("annotations") or {}
    endpoint = str(annotations.get("serving.kserve.io/s3-endpoint", ""))
    absent_keys = [key for key in STORE_KEYS if not (secret.get("data") or {}).get(key)]
    if absent_keys:
        keys = ", ".join(f'"{key}": "..."' for key in STORE_KEYS)
        command = f"""kubectl patch secret {name} -n {namespace} -p '{{"stringData": {{{keys}}}}}'"""
        return not_met(f"{name} has no key {', '.join(absent_keys)}", command)
    values = " ".join(f'{key}="{value}"' for key, value in OWN_STORE.items())
    annotate = f"kubectl annotate secret {name} -n {namespace} --overwrite {values}"
    if not endpoint:
        return not_met(f"{name} has no annotation serving.kserve.io/s3-endpoint: KServe would ask Amazon", annotate)
    is_own_store = f".{KUBEFLOW_NAMESPACE}" in endpoint
    if is_own_store and str(annotations.get("serving.kserve.io/s3-usehttps", "1")) != "0":
        return not_met(f"{name}: {endpoint} has no TLS, and annotation s3-usehttps is not 0", annotate)
    return met(f"{name}: {endpoint}")


def _secret(examination: Examination, namespace: str, name: str) -> Document | None:
    return examination.cluster.read(f"/api/v1/namespaces/{namespace}/secrets/{name}")


def _listed_secrets(account: Document) -> list[str]:
    names = [str(item.get("name")) for item in account.get("secrets") or []]
    return [name for name in names if "-token-" not in name and "-dockercfg-" not in name]


def _with_keys(secret: Document, keys: tuple[str, ...], command: str) -> Answer:
    name = secret["metadata"]["name"]
    absent_keys = [key for key in keys if not (secret.get("data") or {}).get(key)]
    if absent_keys:
        return not_met(f"{name} has no key {', '.join(absent_keys)}", command)
    return met(f"{name} with the keys {', '.join(keys)}")


def _hidden(namespace: str, name: str, error: NotAllowedError) -> Answer:
    return not_allowed(f"{name} cannot be read: {error}", f"kubectl describe secret {name} -n {namespace}")
