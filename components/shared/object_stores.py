"""Options of fsspec's file system for S3: credentials, endpoint and region from the environment.

`minio://` is the store of Kubeflow Pipelines, unless AWS_ENDPOINT_URL names another one. In a cluster its keys come
from the secret mlpipeline-minio-artifact of the namespace, in variables of their own, because the variables of AWS may
hold the keys of a user's store.
"""

import os
from typing import Any

from components.shared.proxies import uses_proxy

KUBEFLOW_STORE = "http://seaweedfs.kubeflow:9000"
STORE_ACCESS_KEY, STORE_SECRET_KEY = "KUBEFLOW_STORE_ACCESS_KEY", "KUBEFLOW_STORE_SECRET_KEY"


def s3_options() -> dict[str, Any]:
    """Return options to stream an object in one request, with path-style addresses for a custom endpoint."""
    endpoint = _endpoint()
    client: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60, "retries": {"total_max_attempts": 1}}
    if endpoint:
        client["s3"] = {"addressing_style": "path"}
    if endpoint and not uses_proxy(endpoint):
        client["proxies"] = {}
    # botocore reads AWS_DEFAULT_REGION and not AWS_REGION, the variable of the other SDKs of AWS.
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    return {
        "endpoint_url": endpoint,
        "max_concurrency": 1,
        "config_kwargs": client,
        **({"client_kwargs": {"region_name": region}} if region else {}),
    }


def minio_options() -> dict[str, Any]:
    """Return options for the store of Kubeflow Pipelines, whose buckets have path-style addresses."""
    options = s3_options()
    options["config_kwargs"]["s3"] = {"addressing_style": "path"}
    if options["endpoint_url"]:
        return options
    options["config_kwargs"]["proxies"] = {}
    key, secret = os.environ.get(STORE_ACCESS_KEY), os.environ.get(STORE_SECRET_KEY)
    keys = {"key": key, "secret": secret} if key and secret else {}
    return {**options, **keys, "endpoint_url": KUBEFLOW_STORE}


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
