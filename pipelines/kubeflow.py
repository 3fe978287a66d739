"""Client of a Kubeflow Pipelines server: upload a pipeline version, start a run. Each error is one sentence."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import urllib3
from kfp import Client
from kfp_server_api import ApiException  # type: ignore[import-untyped]

from components.shared.errors import BadConfigError, TaxonflowError

TOKEN_VARIABLE = "KUBEFLOW_TOKEN"  # noqa: S105 a variable's name
_TIMEOUT_S = 15.0
_REMEDIES = {
    401: f"Set {TOKEN_VARIABLE} or --token-file to a valid token.",
    403: "Request the right to create runs in this namespace.",
    404: "Check the host's path and the namespace.",
}


def read_token(file: Path | None) -> str | None:
    """Return the token from a file or, without a file, from KUBEFLOW_TOKEN; None if there is neither.

    Raises:
        BadConfigError: The file cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Set --token-file to a readable text file."
        raise BadConfigError(f"token file {file} cannot be read ({error})", remedy=remedy) from error


@dataclass(frozen=True)
class RunRequest:
    """A run to start.

    Attributes:
        title: Name of the run.
        experiment: Name of the experiment that lists the run; it is created if needed.
        pipeline_id: Identifier of the pipeline on the server.
        version_id: Identifier of the pipeline version on the server.
        parameters: Parameters of the pipeline.
        service_account: Service account of the run's pods; None for that of the installation.
    """

    title: str
    experiment: str
    pipeline_id: str
    version_id: str
    parameters: Mapping[str, Any]
    service_account: str | None


class Kubeflow:
    """Client of one server. The constructor requests the server's health before anything is uploaded.

    Args:
        host: URL of the server, such as `https://kubeflow.example.org/pipeline`.
        namespace: Namespace of the user; None for an installation without profiles.
        token: Bearer token, or None.

    Raises:
        BadConfigError: The host is not a URL.
        TaxonflowError: The server cannot be reached, rejects the credentials, or is not Kubeflow Pipelines.
    """

    def __init__(self, host: str, namespace: str | None, token: str | None) -> None:
        try:
            url = httpx.URL(host)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise BadConfigError(
                f"host {host!r}", "a URL such as https://kubeflow.example.org/pipeline", "Set HOST or --host."
            )
        self.host, self.namespace = host.rstrip("/"), namespace
        self._check_health(token)
        with self._translated_errors():
            self._client = Client(host=self.host, namespace=namespace, existing_token=token)

    def upload(self, name: str, version: str, text: str) -> tuple[str, str]:
        """Upload a pipeline version unless the server has it.

        Args:
            name: Name of the pipeline.
            version: Name of the version. Versions of the same name have the same text.
            text: Compiled pipeline.

        Returns:
            Identifiers of the pipeline and of the version.
        """
        with self._translated_errors(), _temporary_file(text) as path:
            pipeline = self._client.get_pipeline_id(name)
            if pipeline is None:
                pipeline = self._client.upload_pipeline(path, name, namespace=self.namespace).pipeline_id
            identifier = self._version_id(pipeline, version)
            if identifier is None:
                upload = self._client.upload_pipeline_version(path, version, pipeline_id=pipeline)
                identifier = upload.pipeline_version_id
            return pipeline, identifier

    def start_run(self, request: RunRequest) -> str:
        """Start a run and return its URL in the UI."""
        with self._translated_errors():
            experiment = self._client.create_experiment(request.experiment, namespace=self.namespace)
            run = self._client.run_pipeline(
                experiment.experiment_id,
                request.title,
                params=dict(request.parameters),
                pipeline_id=request.pipeline_id,
                version_id=request.version_id,
                service_account=request.service_account,
            )
        return f"{self.host}/#/runs/details/{run.run_id}"

    def create_recurring_run(self, request: RunRequest, schedule: str) -> str:
        """Create a recurring run, replacing one with the same title, and return its URL in the UI.

        At most one run is active at a time, and missed runs are not caught up.

        Args:
            request: Run to repeat.
            schedule: Six cron fields, seconds first, or a shorthand such as `@daily`.
        """
        with self._translated_errors():
            experiment = self._client.create_experiment(request.experiment, namespace=self.namespace)
            replaced_runs = self._recurring_run_ids(experiment.experiment_id, request.title)
            recurring_run = self._client.create_recurring_run(
                experiment.experiment_id,
                request.title,
                params=dict(request.parameters),
                pipeline_id=request.pipeline_id,
                version_id=request.version_id,
                service_account=request.service_account,
                cron_expression=schedule,
                max_concurrency=1,
                no_catchup=True,
            )
            for identifier in replaced_runs:
                self._client.delete_recurring_run(identifier)
        return f"{self.host}/#/recurringrun/details/{recurring_run.recurring_run_id}"

    def _recurring_run_ids(self, experiment: str, title: str) -> list[str]:
        response = self._client.list_recurring_runs(
            experiment_id=experiment, namespace=self.namespace, filter=_name_filter(title)
        )
        runs = response.recurring_runs or []
        return [run.recurring_run_id for run in runs if run.display_name == title]

    def _version_id(self, pipeline: str, version: str) -> str | None:
        response = self._client.list_pipeline_versions(pipeline, filter=_name_filter(version))
        versions = [item for item in response.pipeline_versions or [] if item.display_name == version]
        return versions[0].pipeline_version_id if versions else None

    def _check_health(self, token: str | None) -> None:
        """Request the server's health; kfp's own client would retry for half a minute and print tracebacks."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            response = httpx.get(
                f"{self.host}/apis/v2beta1/healthz", headers=headers, timeout=_TIMEOUT_S, trust_env=False
            )
        except httpx.HTTPError as error:
            raise self._connection_error(error) from error
        if response.is_redirect:
            raise TaxonflowError(f"{self.host} redirects to a login page", "a valid token", _REMEDIES[401])
        if response.status_code != httpx.codes.OK:
            raise self._rejection_error(response.status_code, response.reason_phrase, response.text)
        if "json" not in response.headers.get("content-type", ""):
            raise TaxonflowError(
                f"{self.host} does not answer like Kubeflow Pipelines",
                "JSON from /apis/v2beta1/healthz",
                "Add the path, often /pipeline, to the host.",
            )

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translate the client's errors to TaxonflowError and discard its output."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except ApiException as error:
            raise self._rejection_error(error.status, error.reason, str(error.body or "")) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._connection_error(error) from error
        except ValueError as error:  # the client's own checks, for example of two pipelines of one name
            raise TaxonflowError(f"{self.host}: {error}", remedy="Remove the conflict in the Kubeflow UI.") from error

    def _rejection_error(self, status: int, reason: str, body: str) -> TaxonflowError:
        message = " ".join(body.split())[:300] or "no message"
        remedy = _REMEDIES.get(status, "See the log of the ml-pipeline service.")
        return TaxonflowError(f"{self.host} responded {status} {reason}: {message}", remedy=remedy)

    def _connection_error(self, error: Exception) -> TaxonflowError:
        return TaxonflowError(f"{self.host} cannot be reached ({error})", remedy="Check HOST and the network.")


def _name_filter(name: str) -> str:
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


@contextlib.contextmanager
def _temporary_file(text: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(text, encoding="utf-8")
        yield str(path)
