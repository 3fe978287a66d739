"""Comparison of a new model with its evaluation and with the stable model, by known slices and by user metrics."""

import time
from dataclasses import dataclass

from components.deploy.canary.probe import ProbedModel, probe_models, probe_slices
from components.deploy.canary.prometheus import (
    Traffic,
    missing_samples_error,
    read_traffic,
    traffic_violations,
)
from components.deploy.canary.sequential_test import SequentialTest
from components.deploy.canary.settings import CanaryTrial
from components.deploy.kserve.checks.known_answers import Endpoint, Patience, check_known_answers, describe_answers
from components.deploy.kserve.checks.readiness import internal_predict_url
from components.deploy.kserve.checks.waiting import Waiter
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ModelVersion, previous_model
from components.deploy.kserve.mode import Mode, Service
from components.deploy.kserve.report import RolloutLog
from components.deploy.verified_model import VerifiedModel
from components.shared.errors import DeployError

_CHECK_SPECIMEN = "deployment-check"
_MIN_WINDOW_S = 60.0
_ROUNDS = 5
"""Number of requests in a row that the new model must answer; each has its own connection, perhaps to another pod."""


@dataclass(frozen=True)
class Comparison:
    """Checks of a new model while it is rolled out.

    Attributes:
        cluster: Cluster of the InferenceService.
        version: Version that is rolled out.
        model: Files and card of the version.
        trial: Conditions of the canary trial.
        log: Log of the rollout.
        waiter: Waiter for the cluster.
    """

    cluster: Cluster
    version: ModelVersion
    model: VerifiedModel
    trial: CanaryTrial
    log: RolloutLog
    waiter: Waiter

    def check_canary(self, mode: Mode, service: Service) -> None:
        """Wait for the canary and compare its answers with the evaluation's.

        Raises:
            DeployError: The canary never becomes ready, or answers known slices incorrectly.
        """
        service = self.waiter.wait(
            mode, service, lambda latest: mode.canary_blocker(self.cluster, latest, self.version)
        )
        url = mode.predict_urls(service, self.trial.settings)[1]
        endpoint = Endpoint(url, self.version, self._versions(mode, service))
        check_known_answers(endpoint, self.model, self._patience(mode, service, 1))
        self.log.add("the canary answers the known slices as in the evaluation")

    def compare_with_stable(self, mode: Mode, service: Service) -> None:
        """Compare canary and stable model by the probe, then by the user metrics of Prometheus.

        Raises:
            DeployError: The canary is worse, or cannot be compared.
        """
        settings = self.trial.settings
        if settings.percent:
            service = self.waiter.wait(mode, service, lambda latest: mode.traffic_blocker(self.cluster, latest))
        test = SequentialTest(settings.slower)
        try:
            slices, patience = probe_slices(self.model, self.trial), self._patience(mode, service, 1)
            probe_models(self._probed_models(mode, service), slices, test, settings, patience.seconds)
        finally:
            self.log.record_test(test)
        self.log.add(f"the canary is not worse in {settings.pairs} pairs of known slices")
        if settings.prometheus:
            self._watch_users(mode, service)

    def check_served(self, mode: Mode, service: Service) -> Service:
        """Wait until the model serves all users, compare its answers with the evaluation's and return the service.

        Raises:
            DeployError: The model never becomes ready, or answers known slices incorrectly.
        """
        service = self.waiter.wait(
            mode, service, lambda latest: mode.promotion_blocker(self.cluster, latest, self.version)
        )
        check_known_answers(self._endpoint(mode, service), self.model, self._patience(mode, service, _ROUNDS))
        return service

    def describe_served(self, mode: Mode, service: Service) -> str:
        """Return a sentence on which models answer known slices now."""
        return describe_answers(self._endpoint(mode, service), self.model)

    def _watch_users(self, mode: Mode, service: Service) -> None:
        """Compare the users' requests to both models in Prometheus for `watch_s` seconds, after the pairs of the probe.

        Raises:
            DeployError: The canary is worse for its users than the stable model, or Prometheus does not answer or has
                no samples of one of them.
        """
        settings, start = self.trial.settings, time.monotonic()
        deployments = mode.deployments(service)
        if deployments is None:
            raise DeployError("Knative reports no revisions whose users could be watched")
        self._compare_users(deployments, 0.0)  # an unreachable Prometheus is an error at once
        while (window_s := time.monotonic() - start) < settings.watch_s:
            if window_s >= _MIN_WINDOW_S:
                self._compare_users(deployments, window_s)
            time.sleep(min(self.trial.retries.pause, settings.watch_s - window_s))
        traffic = self._compare_users(deployments, window_s)
        for deployment, measurement in zip(deployments, traffic, strict=True):
            if measurement is None:
                raise missing_samples_error(settings.prometheus, deployment, window_s)
        canary = traffic[1]
        if canary and canary.requests:
            self.log.add(f"{canary.errors:.0f} of {canary.requests:.0f} users' requests to the canary failed")
        else:
            self.log.add(f"no user's request reached the canary in {window_s:.0f} s; only known slices were compared")

    def _compare_users(self, deployments: tuple[str, str], window_s: float) -> tuple[Traffic | None, Traffic | None]:
        """Return the traffic of the stable model and the canary; raise DeployError if the canary is worse."""
        settings = self.trial.settings
        stable, canary = (
            read_traffic(settings.prometheus, self.cluster.namespace, deployment, window_s)
            for deployment in deployments
        )
        if stable and canary and (violations := traffic_violations(stable, canary, settings.slower)):
            raise DeployError("; ".join(violations))
        return stable, canary

    def _endpoint(self, mode: Mode, service: Service) -> Endpoint:
        versions = self._versions(mode, service)
        return Endpoint(internal_predict_url(service), self.version, versions, _CHECK_SPECIMEN)

    def _patience(self, mode: Mode, service: Service, rounds: int) -> Patience:
        """Return the bounds of a check while pods of other models may still answer."""
        retries = self.trial.retries
        return Patience(mode.grace_period_s(self.cluster, service) + retries.drain, retries.pause, rounds)

    def _probed_models(self, mode: Mode, service: Service) -> tuple[ProbedModel, ProbedModel]:
        stable = mode.stable_model(service)
        urls = mode.predict_urls(service, self.trial.settings)
        return ProbedModel(urls[0], stable.model_id if stable else ""), ProbedModel(urls[1], self.version.model_id)

    def _versions(self, mode: Mode, service: Service) -> dict[str, int]:
        """Return the version numbers of the models that may answer, by their ids."""
        models = (previous_model(service), mode.stable_model(service), self.version)
        return {model.model_id: model.version for model in models if model is not None and model.model_id}
