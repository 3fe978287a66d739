"""Copy the keys of Kubeflow's object store into the secret that KServe reads, under the names that KServe expects.

The script runs as a Job in the image of the monitor and needs nothing but Python. Variables: ACCESS_KEY and SECRET_KEY
(values), SECRET (name of the secret to patch), KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT_HTTPS, and
ACCOUNT_FOLDER (folder of the account's token, certificate and namespace).
"""

import base64
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


def main() -> int:
    """Patch the secret; return 1 if the keys are missing or the API server refuses."""
    keys = {"AWS_ACCESS_KEY_ID": os.environ.get("ACCESS_KEY"), "AWS_SECRET_ACCESS_KEY": os.environ.get("SECRET_KEY")}
    if not all(keys.values()):
        message = "this namespace has no secret mlpipeline-minio-artifact with the keys accesskey and secretkey"
        remedy = "Create the secret taxonflow-model-storage by hand: manifests/components/storage-secret/example.yaml"
        sys.stderr.write(f"[storage-keys] {message}. {remedy}\n")
        return 1
    folder = Path(os.environ.get("ACCOUNT_FOLDER", ACCOUNT_FOLDER))
    data = {name: base64.b64encode(str(value).encode()).decode() for name, value in keys.items()}
    request = urllib.request.Request(  # noqa: S310 the address begins with https
        secret_url((folder / "namespace").read_text().strip()),
        json.dumps({"data": data}).encode(),
        {
            "Authorization": f"Bearer {(folder / 'token').read_text().strip()}",
            "Content-Type": "application/merge-patch+json",
        },
        method="PATCH",
    )
    try:
        open_directly(request, folder / "ca.crt")
    except (OSError, ValueError) as error:  # HTTPError and URLError are OSErrors
        reason = error.read(2000).decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        sys.stderr.write(f"[storage-keys] secret {os.environ['SECRET']} cannot be patched: {error} {reason}\n")
        return 1
    sys.stdout.write(f"[storage-keys] copied the keys of Kubeflow's object store to {os.environ['SECRET']}\n")
    return 0


def secret_url(namespace: str) -> str:
    """Return the address of the secret at the API server."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
    server = f"[{host}]" if ":" in host else host
    return f"https://{server}:{port}/api/v1/namespaces/{namespace}/secrets/{os.environ['SECRET']}"


def open_directly(request: urllib.request.Request, certificate: Path) -> None:
    """Send a request to the API server, not through a proxy."""
    context = ssl.create_default_context(cafile=str(certificate))
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    with urllib.request.build_opener(*handlers).open(request, timeout=30) as response:
        response.read(2**20)


if __name__ == "__main__":
    sys.exit(main())
