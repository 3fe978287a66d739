"""The Job that copies the keys of Kubeflow's object store, against an API server over HTTPS."""

import base64
import datetime
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SCRIPT = Path(__file__).parents[2] / "manifests" / "components" / "storage-secret" / "copy_keys.py"
KEYS = {"ACCESS_KEY": "minio", "SECRET_KEY": "minio123"}


@dataclass
class ApiServer:
    """An API server that answers every request with one status.

    Attributes:
        port: Port on 127.0.0.1.
        status: Status of the answers.
        requests: Method, path, headers and body of each request.
    """

    port: int = 0
    status: int = 200
    requests: list[tuple[str, str, dict[str, str], dict[str, object]]] = field(default_factory=list)


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """Return the folder of an account with a token, a namespace and the certificate of 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pkcs8 = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *pkcs8))
    (tmp_path / "token").write_text("a-token\n")
    (tmp_path / "namespace").write_text("kubeflow")
    return tmp_path


@pytest.fixture
def server(account: Path) -> Iterator[ApiServer]:
    state = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append((self.command, self.path, dict(self.headers), body))
            answer = b'{"kind": "Status", "message": "secrets is forbidden"}'
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 the name is that of the base class
            """Log nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(account / "ca.crt", account / "key.pem")
    http.socket = context.wrap_socket(http.socket, server_side=True)
    state.port = http.server_address[1]
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    yield state
    http.shutdown()
    http.server_close()


def run_job(account: Path, port: int, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script without any installed package, as the Job does."""
    environment = {
        **os.environ,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
        "ACCOUNT_FOLDER": str(account),
        "SECRET": "taxonflow-model-storage",
        **variables,
    }
    command = [sys.executable, "-I", "-S", str(SCRIPT)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_keys_reach_the_secret_under_the_names_that_kserve_reads(account: Path, server: ApiServer) -> None:
    result = run_job(account, server.port, KEYS)
    assert (result.returncode, result.stderr) == (0, "")
    ((method, path, headers, body),) = server.requests
    assert (method, path) == ("PATCH", "/api/v1/namespaces/kubeflow/secrets/taxonflow-model-storage")
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer a-token", "application/merge-patch+json")
    data = body["data"]
    assert isinstance(data, dict)
    decoded_keys = {name: base64.b64decode(value).decode() for name, value in data.items()}
    assert decoded_keys == {"AWS_ACCESS_KEY_ID": "minio", "AWS_SECRET_ACCESS_KEY": "minio123"}
    assert "minio123" not in result.stdout


def test_a_namespace_without_kubeflows_secret_is_reported_in_a_sentence(account: Path, server: ApiServer) -> None:
    result = run_job(account, server.port, {"ACCESS_KEY": ""})
    assert result.returncode == 1
    assert "no secret mlpipeline-minio-artifact" in result.stderr
    assert "Traceback" not in result.stderr
    assert server.requests == []


def test_a_refusal_of_the_api_server_is_reported_in_a_sentence(account: Path, server: ApiServer) -> None:
    server.status = 403
    result = run_job(account, server.port, KEYS)
    assert result.returncode == 1
    assert "secrets is forbidden" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_api_server_that_cannot_be_reached_is_reported(account: Path) -> None:
    result = run_job(account, 9, KEYS)
    assert result.returncode == 1
    assert "taxonflow-model-storage cannot be patched" in result.stderr
    assert "Traceback" not in result.stderr
