"""A Kubeflow Pipelines server: upload a pipeline version, start a run. Every failure is one sentence."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
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
    401: f"Give a valid token in {TOKEN_VARIABLE} or --token-file.",
    403: "Ask for the right to create runs in this namespace.",
    404: "Check the host's path and the namespace.",
}


def read_token(file: Path | None) -> str | None:
    """Returns the token from a file or, without one, from KUBEFLOW_TOKEN; None if there is neither.

    Raises:
        BadConfigError: the file cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfigError(f"token file {file} cannot be read ({error})") from error


class Kubeflow:
    """One server, asked once whether it answers before anything is sent.

    Args:
        host: its address, as `https://kubeflow.example.org/pipeline`.
        namespace: the user's namespace; None for an installation without profiles.
        token: bearer token, or None.

    Raises:
        BadConfigError: the host is not an address.
        TaxonflowError: it cannot be reached, wants other credentials, or is something else.
    """

    def __init__(self, host: str, namespace: str | None, token: str | None) -> None:
        try:
            address = httpx.URL(host)
        except httpx.InvalidURL:
            address = httpx.URL()
        if address.scheme not in ("http", "https") or not address.host:
            raise BadConfigError(f"host {host!r}", "an address like https://kubeflow.example.org/pipeline")
        self.host, self.namespace = host.rstrip("/"), namespace
        self._check_health(token)
        with self._explained():
            self._client = Client(host=self.host, namespace=namespace, existing_token=token)

    def upload(self, name: str, version: str, text: str) -> tuple[str, str]:
        """Uploads a pipeline version unless it is there already.

        Args:
            name: the pipeline's name.
            version: the version's name; the same name stands for the same text.
            text: the compiled pipeline.

        Returns:
            Ids of the pipeline and of the version.
        """
        with self._explained(), _as_file(text) as path:
            pipeline = self._client.get_pipeline_id(name)
            if pipeline is None:
                pipeline = self._client.upload_pipeline(path, name, namespace=self.namespace).pipeline_id
            known = self._version_id(pipeline, version)
            if known is None:
                known = self._client.upload_pipeline_version(path, version, pipeline_id=pipeline).pipeline_version_id
            return pipeline, known

    def start(
        self, title: str, experiment: str, uploaded: tuple[str, str], parameters: Mapping[str, Any], account: str | None
    ) -> str:
        """Starts a run.

        Args:
            title: the run's name.
            experiment: name of the experiment that lists it; made if needed.
            uploaded: ids of the pipeline and of the version.
            parameters: of the pipeline.
            account: service account of the run's pods; None takes the installation's.

        Returns:
            The run's page in the UI.
        """
        with self._explained():
            group = self._client.create_experiment(experiment, namespace=self.namespace)
            run = self._client.run_pipeline(
                group.experiment_id,
                title,
                params=dict(parameters),
                pipeline_id=uploaded[0],
                version_id=uploaded[1],
                service_account=account,
            )
        return f"{self.host}/#/runs/details/{run.run_id}"

    def repeat(
        self,
        title: str,
        experiment: str,
        uploaded: tuple[str, str],
        parameters: Mapping[str, Any],
        account: str | None,
        schedule: str,
    ) -> str:
        """Makes a recurring run in place of the one of this title; one run at a time, missed ones are not made up.

        Args:
            title: the recurring run's name.
            experiment: as in `start`.
            uploaded: as in `start`.
            parameters: as in `start`.
            account: as in `start`.
            schedule: six cron fields, seconds first, or `@daily` and the like.

        Returns:
            The recurring run's page in the UI.
        """
        with self._explained():
            group = self._client.create_experiment(experiment, namespace=self.namespace)
            earlier = self._recurring(group.experiment_id, title)
            made = self._client.create_recurring_run(
                group.experiment_id,
                title,
                params=dict(parameters),
                pipeline_id=uploaded[0],
                version_id=uploaded[1],
                service_account=account,
                cron_expression=schedule,
                max_concurrency=1,
                no_catchup=True,
            )
            for identifier in earlier:
                self._client.delete_recurring_run(identifier)
        return f"{self.host}/#/recurringrun/details/{made.recurring_run_id}"

    def _recurring(self, experiment: str, title: str) -> list[str]:
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": title}
        found = self._client.list_recurring_runs(
            experiment_id=experiment, namespace=self.namespace, filter=json.dumps({"predicates": [predicate]})
        )
        runs = found.recurring_runs or []
        return [run.recurring_run_id for run in runs if run.display_name == title]

    def _version_id(self, pipeline: str, version: str) -> str | None:
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": version}
        found = self._client.list_pipeline_versions(pipeline, filter=json.dumps({"predicates": [predicate]}))
        matching = [item for item in found.pipeline_versions or [] if item.display_name == version]
        return matching[0].pipeline_version_id if matching else None

    def _check_health(self, token: str | None) -> None:
        """Asks for the server's health: kfp's own client would retry for half a minute and print tracebacks."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = httpx.get(
                f"{self.host}/apis/v2beta1/healthz", headers=headers, timeout=_TIMEOUT_S, trust_env=False
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.is_redirect:
            raise TaxonflowError(f"{self.host} sends to a login page", remedy=_REMEDIES[401])
        if answer.status_code != httpx.codes.OK:
            raise self._refused(answer.status_code, answer.reason_phrase, answer.text)
        if "json" not in answer.headers.get("content-type", ""):
            raise TaxonflowError(
                f"{self.host} answers, but not as Kubeflow Pipelines",
                remedy="Add the path, often /pipeline, to the host.",
            )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the client's errors into sentences and keeps what it prints to itself."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except ApiException as error:
            raise self._refused(error.status, error.reason, str(error.body or "")) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        except ValueError as error:  # the client's own checks, for example of two pipelines of one name
            raise TaxonflowError(f"{self.host}: {error}", remedy="Tidy up in the Kubeflow UI.") from error

    def _refused(self, status: int, reason: str, body: str) -> TaxonflowError:
        said = " ".join(body.split())[:300]
        remedy = _REMEDIES.get(status, "See the log of the ml-pipeline service.")
        return TaxonflowError(f"{self.host} answered {status} {reason}: {said or 'no message'}", remedy=remedy)

    def _unreachable(self, error: Exception) -> TaxonflowError:
        return TaxonflowError(f"{self.host} cannot be reached ({error})", remedy="Check HOST and the network.")


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(text, encoding="utf-8")
        yield str(path)
