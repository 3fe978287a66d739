"""Rollout of a new model: try it as a canary, then promote it or roll it back.

    OTHER_MODEL --start--> CANARY_IDLE --known answers--> CANARY_SERVING --not worse--> PROMOTED
      ^                      |                              |                             |
      +------roll back-------+----------roll back-----------+--restore, if never ready----+

The situation is read from the InferenceService before each write, and a write carries the resource version of that
read. After a lost connection, a kill or a concurrent change, the next step depends on the situation that is read then,
so no step is executed twice.
"""

import time
from collections.abc import Callable
from typing import Any

from components.deploy.canary.probe import ProbedModel, probe_models, probe_slices
from components.deploy.canary.prometheus import read_traffic, traffic_violations
from components.deploy.canary.sequential_test import SequentialTest
from components.deploy.canary.settings import CanaryTrial
from components.deploy.kserve.client import Cluster, ConflictError, UnreachableError, retry_conflicts
from components.deploy.kserve.inference_service import (
    MODE_ANNOTATION,
    ModelVersion,
    inference_service,
    previous_model,
    transformer_options,
    with_model,
)
from components.deploy.kserve.knative import KnativeMode
from components.deploy.kserve.known_answers import Endpoint, Patience, check_known_answers, describe_answers
from components.deploy.kserve.mode import Mode, Patch, Service, Situation
from components.deploy.kserve.readiness import internal_predict_url, predict_url
from components.deploy.kserve.report import RolledBackError, RolloutLog, RolloutResult
from components.deploy.kserve.standard import StandardMode
from components.deploy.verified_model import VerifiedModel
from components.shared.errors import DeployError, TaxonflowError
from components.shared.progress import Progress

MODES: dict[str, Mode] = {
    "Standard": StandardMode(),
    "RawDeployment": StandardMode(),
    "Knative": KnativeMode(),
    "Serverless": KnativeMode(),
}
_CHECK_SPECIMEN = "deployment-check"
_ROUNDS = 5
"""Number of requests in a row that the new model must answer; each takes another connection, perhaps to another pod."""


class SupersededError(DeployError):
    """Another writer changed the model of the service during the rollout."""


def mode_of(service: Service) -> Mode:
    """Return the deployment mode of a service; the status takes precedence over the annotation.

    Raises:
        DeployError: The mode has no canaries.
    """
    annotation = service["metadata"].get("annotations", {}).get(MODE_ANNOTATION)
    name = service.get("status", {}).get("deploymentMode") or annotation or "Standard"
    if name not in MODES:
        raise DeployError(
            f"InferenceService {service['metadata']['name']} has the deployment mode {name}",
            " or ".join(MODES),
            "Deploy to another name, or delete the service first.",
        )
    return MODES[name]


class Rollout:
    """Rollout of one model.

    Args:
        cluster: Cluster of the InferenceService.
        name: Name of the InferenceService.
        version: Version to serve.
        model: Files and card of the version.
        trial: Conditions of the canary trial.
    """

    def __init__(
        self, cluster: Cluster, name: str, version: ModelVersion, model: VerifiedModel, trial: CanaryTrial
    ) -> None:
        self.cluster, self.name, self.version, self.model = cluster, name, version, model
        self.settings, self.retries, self.trial = trial.settings, trial.retries, trial
        self.log = RolloutLog()
        self._has_started = self._has_passed = False
        self._rejection: TaxonflowError | None = None
        self._state: tuple[Situation, bool, bool] | None = None
        self._last_state: tuple[Situation, bool, bool] | None = None

    def run(self) -> RolloutResult:
        """Advance until the model is promoted or rolled back; raise the errors of `roll_out`."""
        while True:
            result = retry_conflicts(self._advance, f"InferenceService {self.name}", self.retries)
            if result is not None:
                return result
            self._last_state = self._state

    def _advance(self) -> RolloutResult | None:
        """Read the service and take the next step; return None while more steps follow."""
        service = self.cluster.service(self.name)
        if service is None:
            self._create()
            return None
        mode = mode_of(service)
        situation = mode.situation(service, self.version)
        self._check_progress(situation)
        if situation in (Situation.NO_MODEL, Situation.OTHER_MODEL):
            self._start(mode, service, situation)
            return None
        self._has_started = True
        if situation is Situation.PROMOTED:
            return self._finish(mode, service)
        if self._rejection is not None:
            self._patch(service, mode.roll_back(service))
            raise self._rolled_back_error(mode, service)
        self._try_canary(mode, service, situation)
        return None

    def _check_progress(self, situation: Situation) -> None:
        """Record the state of the rollout before a step, and compare it with the state before the previous step.

        Raises:
            DeployError: The state was the same before: the cluster accepted a change but did not keep it.
        """
        self._state = (situation, self._has_passed, self._rejection is not None)
        if self._state == self._last_state:
            raise DeployError(
                f"{self.name} is unchanged after a step of the rollout: {situation.value}",
                "a cluster that keeps the changes of the deploy step",
                "Look for another controller that resets the InferenceService, and check the release of KServe.",
            )

    def _create(self) -> None:
        if self._has_started:
            raise SupersededError(f"{self.name} was deleted during the rollout of version {self.version.version}")
        service = inference_service(self.name, transformer_options(self.model.card))
        self.cluster.create_service(with_model(service, self.version))
        self.log.add(f"{self.name} was created with version {self.version.version}")

    def _start(self, mode: Mode, service: Service, situation: Situation) -> None:
        """Start the canary, or serve the model at once if no model serves users."""
        if self._rejection is not None:
            raise self._rolled_back_error(mode, service)
        if self._has_started:
            raise self._superseded_error()
        if situation is Situation.NO_MODEL or not mode.has_ready_pods(self.cluster, service):
            self._patch(service, mode.serve(service, self.version))
            self.log.add(f"version {self.version.version} was set without a trial, because no model served users")
            return
        patch = mode.start_canary(service, self.version, self.settings)
        if not self._keeps_canary(mode, patch):
            self._serve_without_canary(mode, service)
            return
        self._patch(service, patch)
        self.log.add(f"version {self.version.version} was started as a canary without users")

    def _keeps_canary(self, mode: Mode, patch: Patch) -> bool:
        """Return whether the cluster stores the canary of a patch; KServe's CRD before 0.20 drops `spec.canary`."""
        if "canary" not in patch["spec"]:
            return True
        preview = self.cluster.preview_patch(self.name, patch)
        return mode.situation(preview, self.version) is not Situation.OTHER_MODEL

    def _serve_without_canary(self, mode: Mode, service: Service) -> None:
        """Serve the model at once, where KServe does not keep canaries; `_finish` compares its known answers."""
        self.log.add(
            f"KServe does not keep the canary in {self.name}'s spec (releases before 0.20 do not know it): version "
            f"{self.version.version} is rolled out without a trial, and the previous one is restored if its known "
            "answers are wrong"
        )
        versions = self._versions(mode, service)
        endpoint = Endpoint(internal_predict_url(service), self.version, versions, _CHECK_SPECIMEN)
        self.log.add(f"before the change, {describe_answers(endpoint, self.model)}")
        self._patch(service, mode.serve(service, self.version))
        self.log.add(f"version {self.version.version} was set")

    def _try_canary(self, mode: Mode, service: Service, situation: Situation) -> None:
        """Advance the canary by one situation, or record why it is rejected."""
        if self._has_passed:
            self._patch(service, mode.promote(service, self.version))
            self.log.add(f"version {self.version.version} was promoted")
            return
        try:
            if situation is Situation.CANARY_IDLE:
                self._check_canary_answers(mode, service)
            if situation is Situation.CANARY_SERVING or not self.settings.percent:
                self._compare(mode, service)
                self._has_passed = True
                return
        except (SupersededError, ConflictError, UnreachableError):
            raise
        except TaxonflowError as error:  # of any class: a canary that cannot be compared must not stay
            self._rejection = error
            return
        self._patch(service, mode.route_traffic(service, self.settings))
        self.log.add(f"the canary answers {self.settings.percent} % of the users' requests")

    def _check_canary_answers(self, mode: Mode, service: Service) -> None:
        """Wait for the canary and compare its answers with the evaluation's."""
        service = self._wait(service, lambda latest: mode.canary_blocker(self.cluster, latest, self.version), mode)
        url = mode.predict_urls(service, self.settings)[1]
        self._check_answers(mode, service, Endpoint(url, self.version, self._versions(mode, service)), rounds=1)
        self.log.add("the canary answers the known slices as in the evaluation")

    def _compare(self, mode: Mode, service: Service) -> None:
        """Compare canary and stable model by the probe, then by the user metrics of Prometheus."""
        start = time.monotonic()
        if self.settings.percent:
            service = self._wait(service, lambda latest: mode.traffic_blocker(self.cluster, latest), mode)
        test = SequentialTest(self.settings.slower)
        try:
            models = self._probed_models(mode, service)
            slices = probe_slices(self.model, self.trial)
            probe_models(models, slices, test, self.settings, self._patience_s(mode, service))
        finally:
            self.log.record_test(test)
        self.log.add(f"the canary is not worse in {self.settings.pairs} pairs of known slices")
        if self.settings.prometheus:
            self._watch_users(mode, service, start)

    def _watch_users(self, mode: Mode, service: Service, start: float) -> None:
        """Compare the users' requests to both models in Prometheus for `watch_s` seconds.

        Raises:
            DeployError: The canary is worse for its users than the stable model, or Prometheus does not answer.
        """
        deployments = mode.deployments(service)
        if deployments is None:
            raise DeployError("Knative reports no revisions whose users could be watched")
        while True:
            window_s = time.monotonic() - start
            stable, canary = (
                read_traffic(self.settings.prometheus, self.cluster.namespace, deployment, window_s)
                for deployment in deployments
            )
            if violations := traffic_violations(stable, canary, self.settings.slower):
                raise DeployError("; ".join(violations))
            if window_s >= self.settings.watch_s:
                break
            time.sleep(min(self.retries.pause, self.settings.watch_s - window_s))
        self.log.add(f"{canary.errors:.0f} of {canary.requests:.0f} users' requests to the canary failed")

    def _finish(self, mode: Mode, service: Service) -> RolloutResult | None:
        """Wait until the model serves all users; restore the previous model if it does not."""
        try:
            if self._rejection is None:
                service = self._wait(
                    service, lambda latest: mode.promotion_blocker(self.cluster, latest, self.version), mode
                )
                url, versions = internal_predict_url(service), self._versions(mode, service)
                self._check_answers(mode, service, Endpoint(url, self.version, versions, _CHECK_SPECIMEN), _ROUNDS)
                return RolloutResult(self.version.version, predict_url(service), self.log)
        except (SupersededError, ConflictError, UnreachableError):
            raise
        except DeployError as error:
            self._rejection = error
            service = self.cluster.service(self.name) or service
        self._restore_previous(mode, service)
        return None

    def _check_answers(self, mode: Mode, service: Service, endpoint: Endpoint, rounds: int) -> None:
        """Wait until the new model answers the known slices, while pods of other models may still answer."""
        patience = Patience(self._patience_s(mode, service), self.retries.pause, rounds)
        check_known_answers(endpoint, self.model, patience)

    def _patience_s(self, mode: Mode, service: Service) -> float:
        """Return the seconds for which answers of other models are accepted after a change."""
        return mode.grace_period_s(self.cluster, service) + self.retries.drain

    def _probed_models(self, mode: Mode, service: Service) -> tuple[ProbedModel, ProbedModel]:
        stable = mode.stable_model(service)
        urls = mode.predict_urls(service, self.settings)
        return ProbedModel(urls[0], stable.model_id if stable else ""), ProbedModel(urls[1], self.version.model_id)

    def _versions(self, mode: Mode, service: Service) -> dict[str, int]:
        """Return the version numbers of the models that may answer, by their ids."""
        models = (previous_model(service), mode.stable_model(service), self.version)
        return {model.model_id: model.version for model in models if model is not None and model.model_id}

    def _restore_previous(self, mode: Mode, service: Service) -> None:
        patch = mode.restore_previous(service)
        if patch is None:
            raise DeployError(f"{str(self._rejection).rstrip('.')}. There is no previous model to restore")
        self._patch(service, patch)
        self.log.add("the previous model was restored")

    def _rolled_back_error(self, mode: Mode, service: Service) -> RolledBackError:
        stable = mode.stable_model(service)
        self.log.add(f"version {self.version.version} was rolled back: {self._rejection}")
        result = RolloutResult(stable.version if stable else 0, predict_url(service), self.log, "rolled_back")
        return RolledBackError(str(self._rejection), result)

    def _superseded_error(self) -> SupersededError:
        return SupersededError(
            f"{self.name} was deleted or has another model than {self.version.uri}; the rollout stopped without changes"
        )

    def _patch(self, service: Service, patch: Patch) -> None:
        self.cluster.patch_service(self.name, patch, service["metadata"]["resourceVersion"])

    def _wait(self, service: Service, blocker: Callable[[Service], str], mode: Mode) -> dict[str, Any]:
        """Return the service once `blocker` returns "" for it twice in a row; retry on lost connections.

        Raises:
            DeployError: The timeout was exceeded.
            SupersededError: The situation changed while waiting.
        """
        deadline = time.monotonic() + self.retries.timeout
        progress = Progress("deploy", round(self.retries.timeout), "s at most")
        while True:
            try:
                reason = blocker(service)
                latest = self.cluster.service(self.name)
                self._check_situation(mode, service, latest)
                if not reason and latest is not None and not blocker(latest):
                    return latest
                service = latest or service
            except UnreachableError as error:
                reason = str(error)
            if time.monotonic() >= deadline:
                raise DeployError(
                    f"version {self.version.version} of {self.name} was not ready after {self.retries.timeout:g} s "
                    f"({reason})",
                    remedy="Correct the cause and run the step again.",
                )
            time.sleep(self.retries.pause)
            progress.advance(round(self.retries.pause), remark=reason[:120])

    def _check_situation(self, mode: Mode, before: Service, latest: Service | None) -> None:
        if latest is None or mode.situation(latest, self.version) is not mode.situation(before, self.version):
            raise self._superseded_error()
