"""Rollout of a new model: try it as a canary, then promote it or roll it back.

    OTHER_MODEL --start--> CANARY_IDLE --known answers--> CANARY_SERVING --not worse--> PROMOTED
      ^                      |                              |                             |
      +------roll back-------+----------roll back-----------+--restore, if it fails-------+

A model is promoted without a canary where no model serves users, and where KServe does not keep canaries.

The situation is read from the InferenceService before each write, and a write carries the resource version of that
read. After a lost connection, a kill or a concurrent change, the next step depends on the situation that is read then,
so no step is executed twice.
"""

from collections.abc import Callable, Sequence

from components.deploy.canary.settings import CanaryTrial
from components.deploy.kserve.checks.comparison import Comparison
from components.deploy.kserve.checks.readiness import ask_commands, internal_predict_url, predict_url
from components.deploy.kserve.checks.waiting import SupersededError, Waiter
from components.deploy.kserve.client import Cluster, ConflictError, UnreachableError, retry_conflicts
from components.deploy.kserve.endpoint_patches import EndpointPatch
from components.deploy.kserve.endpoint_settings import patched_service, with_settings
from components.deploy.kserve.inference_service import (
    MODE_ANNOTATION,
    ModelVersion,
    transformer_options,
    with_model,
)
from components.deploy.kserve.knative import KnativeMode
from components.deploy.kserve.mode import Mode, Patch, Service, Situation
from components.deploy.kserve.report import RolledBackError, RolloutLog, RolloutResult
from components.deploy.kserve.standard import StandardMode
from components.deploy.model_registry import Outcome
from components.deploy.verified_model import VerifiedModel
from components.shared.errors import DeployError, TaxonflowError

MODES: dict[str, Mode] = {
    "Standard": StandardMode(),
    "RawDeployment": StandardMode(),
    "Knative": KnativeMode(),
    "Serverless": KnativeMode(),
}


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
        patches: Patches of the cluster to the InferenceService.
        record: Function that records an outcome and the predict URL beside the endpoint and returns a sentence about
            it; None for no record.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        version: ModelVersion,
        model: VerifiedModel,
        trial: CanaryTrial,
        patches: Sequence[EndpointPatch] = (),
        record: Callable[[Outcome, str], str] | None = None,
    ) -> None:
        self.cluster, self.name, self.version, self.model = cluster, name, version, model
        self.patches, self.record = patches, record
        self.settings, self.retries, self.trial = trial.settings, trial.retries, trial
        self.log = RolloutLog()
        self.waiter = Waiter(cluster, name, version, self.retries)
        self.comparison = Comparison(cluster, version, model, trial, self.log, self.waiter)
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
        is_without_model = situation in (Situation.NO_MODEL, Situation.OTHER_MODEL)
        if is_without_model and self._rejection is not None:
            self._await_previous(mode, service)
            raise self._rolled_back_error(mode, service)
        if is_without_model:
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
        service = patched_service(self.name, self.patches, transformer_options(self.model.card))
        self.cluster.create_service(with_model(service, self.version))
        self.log.add(f"{self.name} was created with version {self.version.version}")

    def _start(self, mode: Mode, service: Service, situation: Situation) -> None:
        """Start the canary, or serve the model at once if no model serves users."""
        if self._has_started:
            raise self.waiter.superseded_error()
        service = self._apply_settings(mode, service, situation)
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
        if self.record:
            self.log.note(self.record("canary", predict_url(service)))

    def _apply_settings(self, mode: Mode, service: Service, situation: Situation) -> Service:
        """Give the service the current settings before the model; return it once its model serves with them."""
        patch = with_settings(service, self.patches)
        if not patch:
            return service
        service = self.cluster.patch_service(self.name, patch, service["metadata"]["resourceVersion"])
        self.log.add(f"{self.name} got the current settings of the deploy step and the cluster's patches")
        stable = mode.stable_model(service)
        if situation is Situation.NO_MODEL or stable is None or not mode.has_ready_pods(self.cluster, service):
            return service
        return self.waiter.wait(mode, service, lambda latest: mode.promotion_blocker(self.cluster, latest, stable))

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
        self.log.add(f"before the change, {self.comparison.describe_served(mode, service)}")
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
                self.comparison.check_canary(mode, service)
            if situation is Situation.CANARY_SERVING or not self.settings.percent:
                self.comparison.compare_with_stable(mode, service)
                self._has_passed = True
                return
        except (SupersededError, ConflictError, UnreachableError):
            raise
        except TaxonflowError as error:  # of any class: a canary that cannot be compared must not stay
            self._rejection = error
            return
        self._patch(service, mode.route_traffic(service, self.settings))
        self.log.add(f"the canary answers {self.settings.percent} % of the users' requests")

    def _finish(self, mode: Mode, service: Service) -> RolloutResult | None:
        """Wait until the model serves all users; restore the previous model if it does not."""
        try:
            if self._rejection is None:
                service = self.comparison.check_served(mode, service)
                return self._result(service, self.version)
        except (SupersededError, ConflictError, UnreachableError):
            raise
        except DeployError as error:
            self._rejection = error
            service = self.cluster.service(self.name) or service
        self._restore_previous(mode, service)
        return None

    def _restore_previous(self, mode: Mode, service: Service) -> None:
        patch = mode.restore_previous(service)
        if patch is None:
            raise DeployError(f"{str(self._rejection).rstrip('.')}. There is no previous model to restore")
        self._patch(service, patch)
        self.log.add("the previous model was restored")

    def _await_previous(self, mode: Mode, service: Service) -> None:
        """Wait until the previous model serves all users again; a failure is only mentioned in the log."""
        stable = mode.stable_model(service)
        if stable is None:
            return
        waiter = Waiter(self.cluster, self.name, stable, self.retries)
        try:
            waiter.wait(mode, service, lambda latest: mode.promotion_blocker(self.cluster, latest, stable))
        except DeployError as error:
            self.log.add(f"version {stable.version} does not serve all users again: {error}")
        else:
            self.log.add(f"version {stable.version} serves all users again")

    def _rolled_back_error(self, mode: Mode, service: Service) -> RolledBackError:
        stable = mode.stable_model(service)
        self.log.add(f"version {self.version.version} was rolled back: {self._rejection}")
        result = self._result(service, stable, "rolled_back", str(self._rejection))
        return RolledBackError(str(self._rejection), result)

    def _result(
        self, service: Service, stable: ModelVersion | None, outcome: str = "deployed", reason: str = ""
    ) -> RolloutResult:
        """Return the result of the rollout with the addresses of the endpoint."""
        version, model_id = (stable.version, stable.model_id) if stable else (0, "")
        return RolloutResult(
            version,
            predict_url(service),
            self.log,
            outcome,
            model_id,
            internal_predict_url(service),
            ask_commands(self.cluster.namespace, service),
            reason,
        )

    def _patch(self, service: Service, patch: Patch) -> None:
        self.cluster.patch_service(self.name, patch, service["metadata"]["resourceVersion"])
