"""One roll-out: a new model is tried beside the one that is served, and promoted or taken away.

    OTHER --start--> DARK --ready, known answers--> OPEN --as good, by the judge--> SERVED
      ^                |                              |                                |
      +----roll back---+----------roll back-----------+----take back, if not ready-----+

Where a roll-out stands is read from the InferenceService before each write, and a write carries the version of what
was read. So whatever is lost, killed or overtaken, the next look decides, and no step is done twice.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from components.deploy.canary.known_slices import KnownSlice, slices_for_the_judge
from components.deploy.canary.probe import judge_in_pairs
from components.deploy.canary.prometheus import complaints_of_users, traffic_of
from components.deploy.canary.sequential_test import CanaryJudge
from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.client import Cluster, ConflictError, UnreachableError
from components.deploy.kserve.inference_service import ServedModel, inference_service, transformer_options, with_model
from components.deploy.kserve.known_answers import check_known_answers
from components.deploy.kserve.mode import Mode, Patch, Service, Situation
from components.deploy.kserve.modes import mode_of
from components.deploy.kserve.readiness import internal_predict_url, predict_url
from components.deploy.kserve.report import RolledBackError, RolledOut, RollOutStory
from components.deploy.verified_model import Publication
from components.shared.errors import DeployError, TaxonflowError
from components.shared.progress import Progress

_ATTEMPTS = 5
_LONGEST_BACKOFF_S = 60.0
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Patience:
    """How long a model may take to get ready and how often the cluster is asked, in seconds."""

    timeout: float = 900.0
    pause: float = 5.0


PATIENCE = Patience()


class OvertakenError(DeployError):
    """Somebody else changed the service while a model was rolled out."""


def persistently(action: Callable[[], _Result], name: str, patience: Patience) -> _Result:
    """Does something again, with a growing pause, while others are faster or the API does not answer.

    Raises:
        DeployError: it never worked.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return action()
        except (ConflictError, UnreachableError) as error:
            if attempt == _ATTEMPTS:
                raise _given_up(name, error) from error
            time.sleep(min(patience.pause * 2 ** (attempt - 1), _LONGEST_BACKOFF_S))
    raise AssertionError("the last attempt returns or raises")


def _given_up(name: str, error: DeployError) -> DeployError:
    if isinstance(error, UnreachableError):
        return error
    return DeployError(
        f"{name} was changed by others {_ATTEMPTS} times in a row",
        remedy="Stop the other deployments and run the step again.",
    )


class RollOut:
    """One roll-out of one model.

    Args:
        cluster: where the InferenceService is.
        name: of the InferenceService.
        model: the version to serve.
        publication: its files.
        settings: how it is tried.
        data: the data set whose test slices it is judged by, or None.
        patience: how long to wait.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        model: ServedModel,
        publication: Publication,
        settings: CanarySettings,
        data: Path | None,
        patience: Patience,
    ) -> None:
        self.cluster, self.name, self.model, self.publication = cluster, name, model, publication
        self.settings, self.data, self.patience = settings, data, patience
        self.story = RollOutStory()
        self._begun = self._judged_as_good = False
        self._refusal: TaxonflowError | None = None

    def run(self) -> RolledOut:
        """Goes from situation to situation until the model is served or taken away; raises as `roll_out` does."""
        while True:
            ended = persistently(self._advance, f"InferenceService {self.name}", self.patience)
            if ended is not None:
                return ended

    def _advance(self) -> RolledOut | None:
        """Looks at the service and does what is next; None while there is more to do."""
        service = self.cluster.service(self.name)
        if service is None:
            self._create()
            return None
        mode = mode_of(service)
        situation = mode.situation(service, self.model)
        if situation in (Situation.EMPTY, Situation.OTHER):
            self._begin(mode, service, situation)
            return None
        self._begun = True
        if situation is Situation.SERVED:
            return self._finish(mode, service)
        if self._refusal is not None:
            self._patch(service, mode.roll_back(service))
            raise self._rolled_back(mode, service)
        self._try(mode, service, situation)
        return None

    def _create(self) -> None:
        if self._begun:
            raise OvertakenError(f"{self.name} was deleted while version {self.model.version} was rolled out")
        made = inference_service(self.name, transformer_options(self.publication.card))
        self.cluster.create_service(with_model(made, self.model))
        self.story.tell(f"{self.name} was created with version {self.model.version}")

    def _begin(self, mode: Mode, service: Service, situation: Situation) -> None:
        """Starts the canary, or serves the model at once where users have nothing to lose."""
        if self._refusal is not None:
            raise self._rolled_back(mode, service)
        if self._begun:
            raise OvertakenError(
                f"{self.name} was asked for another model than {self.model.uri} meanwhile, so it was left alone"
            )
        if situation is Situation.OTHER and mode.serves(self.cluster, service):
            self._patch(service, mode.start(service, self.model))
            self.story.tell(f"version {self.model.version} was started as a canary without users")
        else:
            self._patch(service, mode.serve(service, self.model))
            self.story.tell(f"version {self.model.version} replaces what served nobody")

    def _try(self, mode: Mode, service: Service, situation: Situation) -> None:
        """Takes a canary one situation further, or notes why it must go."""
        if self._judged_as_good:
            self._patch(service, mode.promote(service, self.model))
            self.story.tell(f"version {self.model.version} was promoted")
            return
        try:
            if situation is Situation.DARK:
                self._check_in_the_dark(mode, service)
            if situation is Situation.OPEN or not self.settings.percent:
                self._judge(mode, service)
                self._judged_as_good = True
                return
        except (OvertakenError, ConflictError, UnreachableError):
            raise
        except TaxonflowError as error:  # of whatever kind: a canary that cannot be judged must not stay
            self._refusal = error
            return
        self._patch(service, mode.open(service, self.settings))
        self.story.tell(f"the canary answers {self.settings.percent} % of the users' requests")

    def _check_in_the_dark(self, mode: Mode, service: Service) -> None:
        """Waits for the canary and holds its answers against the evaluation's."""
        ready = self._wait(service, lambda seen: mode.why_canary_not_ready(self.cluster, seen, self.model), mode)
        url = mode.addresses(ready, self.settings)[1]
        check_known_answers(url, self.publication.folder, self.publication.card.examples, self.patience.pause)
        self.story.tell("the canary answers the known slices as the evaluation did")

    def _judge(self, mode: Mode, service: Service) -> None:
        """Asks both models for known slices, and Prometheus for the users'."""
        began = time.monotonic()
        if self.settings.percent:
            service = self._wait(service, lambda seen: mode.why_not_open(self.cluster, seen), mode)
        judge = CanaryJudge(self.settings.slower)
        try:
            judge_in_pairs(
                *mode.addresses(service, self.settings),
                self._slices(),
                judge,
                self.settings.pairs,
                self.settings.seconds,
            )
        finally:
            self.story.heard(judge)
        self.story.tell(f"the canary is as good in {self.settings.pairs} pairs of known slices")
        if self.settings.prometheus:
            self._watch_users(mode, service, began)

    def _slices(self) -> Sequence[KnownSlice]:
        return slices_for_the_judge(self.publication, self.data, self.settings.pairs)

    def _watch_users(self, mode: Mode, service: Service, began: float) -> None:
        """Raises DeployError when the users of the canary fare worse while they are watched."""
        named = mode.deployments(service)
        if named is None:
            raise DeployError("Knative names no revisions to watch the users of")
        while True:
            watched = time.monotonic() - began
            stable, canary = (
                traffic_of(self.settings.prometheus, self.cluster.namespace, deployment, watched)
                for deployment in named
            )
            if complaints := complaints_of_users(stable, canary, self.settings.slower):
                raise DeployError("; ".join(complaints))
            if watched >= self.settings.watch_s:
                break
            time.sleep(min(self.patience.pause, self.settings.watch_s - watched))
        self.story.tell(f"users fared as well: {canary.errors:.0f} of {canary.requests:.0f} requests failed")

    def _finish(self, mode: Mode, service: Service) -> RolledOut | None:
        """Waits until every user gets the model; puts the one before back if that never comes."""
        try:
            if self._refusal is None:
                ready = self._wait(service, lambda seen: mode.why_not_served(self.cluster, seen, self.model), mode)
                check_known_answers(
                    internal_predict_url(ready),
                    self.publication.folder,
                    self.publication.card.examples,
                    self.patience.pause,
                    "deployment-check",
                )
                return RolledOut(self.model.version, predict_url(ready), self.story)
        except (OvertakenError, ConflictError, UnreachableError):
            raise
        except DeployError as error:
            self._refusal = error
            service = self.cluster.service(self.name) or service
        self._take_back(mode, service)
        return None

    def _take_back(self, mode: Mode, service: Service) -> None:
        patch = mode.take_back(service)
        if patch is None:
            raise DeployError(f"{str(self._refusal).rstrip('.')}. No model was served before")
        self._patch(service, patch)
        self.story.tell("the model before was put back")

    def _rolled_back(self, mode: Mode, service: Service) -> RolledBackError:
        stable = mode.stable_model(service)
        self.story.tell(f"version {self.model.version} was rolled back: {self._refusal}")
        still = RolledOut(stable.version if stable else 0, predict_url(service), self.story, "rolled_back")
        return RolledBackError(str(self._refusal), still)

    def _patch(self, service: Service, patch: Patch) -> None:
        self.cluster.patch_service(self.name, patch, service["metadata"]["resourceVersion"])

    def _wait(self, service: Service, why_not: Callable[[Service], str], mode: Mode) -> dict[str, Any]:
        """Returns the service as soon as nothing speaks against it; a lost connection is a reason to ask again.

        Raises:
            DeployError: with the last reason, when the time is over.
            OvertakenError: somebody asks the service for another model.
        """
        until = time.monotonic() + self.patience.timeout
        progress = Progress("deploy", round(self.patience.timeout), "s at most")
        while True:
            try:
                trouble = why_not(service)
                newer = self.cluster.service(self.name)
                self._check_ours(mode, service, newer)
                if not trouble and newer is not None and not why_not(newer):
                    return newer
                service = newer or service
            except UnreachableError as error:
                trouble = str(error)
            if time.monotonic() >= until:
                raise DeployError(
                    f"version {self.model.version} of {self.name} was not ready after {self.patience.timeout:g} s "
                    f"({trouble})",
                    remedy="Correct the cause and run the step again.",
                )
            time.sleep(self.patience.pause)
            progress.advance(round(self.patience.pause), remark=trouble[:120])

    def _check_ours(self, mode: Mode, before: Service, now: Service | None) -> None:
        if now is None or mode.situation(now, self.model) is not mode.situation(before, self.model):
            raise OvertakenError(
                f"{self.name} was deleted or asked for another model than {self.model.uri} while it was rolled out, "
                "so it was left alone"
            )
