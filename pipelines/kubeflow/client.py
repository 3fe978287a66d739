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

import urllib3
from kfp import Client
from kfp_server_api import ApiException  # type: ignore[import-untyped]

from components.shared.errors import BadConfigError, TaxonflowError
from pipelines.kubeflow.host import TOKEN_VARIABLE, Credentials, connection_error, find_server, rejection_error
from serving.client.certificates import authorities

__all__ = ["TOKEN_VARIABLE", "Credentials", "Kubeflow", "PipelineVersion", "RunRequest", "read_token"]


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

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments that kfp's client takes for a run and for a recurring run."""
        return {
            "params": dict(self.parameters),
            "pipeline_id": self.pipeline_id,
            "version_id": self.version_id,
            "service_account": self.service_account,
        }


@dataclass(frozen=True)
class PipelineVersion:
    """A compiled pipeline to upload.

    Attributes:
        name: Name of the pipeline.
        version: Name of the version. Versions of the same name have the same text.
        text: Compiled pipeline.
        description: Description of the pipeline and of the version in the UI.
    """

    name: str
    version: str
    text: str
    description: str = ""


class Kubeflow:
    """Client of one server. The constructor requests the server's health before anything is uploaded.

    Args:
        host: URL of the server, with or without its path, such as `https://kubeflow.example.org/pipeline`.
        credentials: Token and namespace of the user, and authority of the server.

    Raises:
        BadConfigError: The host is not a URL, or the server has profiles and no namespace was given.
        TaxonflowError: The server cannot be reached, rejects the credentials, or is not Kubeflow Pipelines.
    """

    def __init__(self, host: str, credentials: Credentials) -> None:
        server = find_server(host, credentials)
        self.host, self._credentials = server.url, credentials
        if server.has_profiles and not credentials.namespace:
            remedy = "Set NAMESPACE, or --namespace, to the profile that the run belongs to."
            raise BadConfigError(f"{self.host} has profiles, and no namespace was given", "a namespace", remedy)
        self.namespace = credentials.namespace if server.has_profiles else None
        self._folder = tempfile.TemporaryDirectory()  # of the certificates, which the client reads at each connection
        bundle = Path(self._folder.name) / "authorities.pem"
        bundle.write_text(authorities(server.context), encoding="ascii")
        with self._translated_errors():
            self._client = Client(
                host=self.host,
                namespace=self.namespace,
                existing_token=credentials.token,
                proxy=server.proxy,
                ssl_ca_cert=str(bundle) if bundle.stat().st_size else None,
            )

    @property
    def remark(self) -> str:
        """Sentence on a namespace that the server does not know; empty without one."""
        if self.namespace or not self._credentials.namespace:
            return ""
        return f"{self.host} has no profiles: the run is in the namespace of Kubeflow Pipelines, whatever NAMESPACE is."

    def upload(self, pipeline: PipelineVersion) -> tuple[str, str]:
        """Upload a pipeline version unless the server has it.

        Returns:
            Identifiers of the pipeline and of the version.
        """
        with self._translated_errors(), _temporary_file(pipeline.text) as path:
            pipeline_id = self._pipeline_id(pipeline.name)
            if pipeline_id is None:
                upload = self._client.upload_pipeline(
                    path, pipeline.name, description=pipeline.description, namespace=self.namespace
                )
                pipeline_id = str(upload.pipeline_id)
            version_id = self._version_id(pipeline_id, pipeline.version)
            if version_id is None:
                upload = self._client.upload_pipeline_version(
                    path, pipeline.version, pipeline_id=pipeline_id, description=pipeline.description
                )
                version_id = str(upload.pipeline_version_id)
            return pipeline_id, version_id

    def start_run(self, request: RunRequest) -> str:
        """Start a run and return its URL in the UI."""
        with self._translated_errors():
            experiment = self._client.create_experiment(request.experiment, namespace=self.namespace)
            run = self._client.run_pipeline(experiment.experiment_id, request.title, **request.options)
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
                **request.options,
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

    def _pipeline_id(self, name: str) -> str | None:
        """Return the identifier of a pipeline of the namespace, or of the shared ones without profiles.

        kfp's `get_pipeline_id` lists shared pipelines only.
        """
        response = self._client.list_pipelines(filter=_name_filter(name), namespace=self.namespace)
        pipelines = [item for item in response.pipelines or [] if item.display_name == name]
        return pipelines[0].pipeline_id if pipelines else None

    def _version_id(self, pipeline: str, version: str) -> str | None:
        response = self._client.list_pipeline_versions(pipeline, filter=_name_filter(version))
        versions = [item for item in response.pipeline_versions or [] if item.display_name == version]
        return versions[0].pipeline_version_id if versions else None

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translate the client's errors to TaxonflowError and discard its output."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except ApiException as error:
            status, reason, body = error.status, error.reason, str(error.body or "")
            raise rejection_error(self.host, status, reason, body, self._credentials) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise connection_error(self.host, error) from error
        except ValueError as error:  # the client's own checks, for example of two pipelines of one name
            raise TaxonflowError(f"{self.host}: {error}", remedy="Remove the conflict in the Kubeflow UI.") from error


def _name_filter(name: str) -> str:
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


@contextlib.contextmanager
def _temporary_file(text: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(text, encoding="utf-8")
        yield str(path)
