"""Roll-outs on a real cluster, in this order: each test goes on where the one before ended."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.cluster.deployers import MONITORED, MONITORED_CLAIM, Deployer, Deployment
from tests.cluster.endpoint import Endpoint
from tests.cluster.installation import Installation
from tests.cluster.kubectl import Kubectl, say, wait_for
from tests.cluster.kubeflow_runs import KubeflowRuns
from tests.cluster.local_models import LONG, SHORT, UNTRAINED, LocalModel
from tests.cluster.pods import script_pod, wait_for_facts
from tests.cluster.settings import MODEL, Settings
from tests.cluster.traffic import Answer, KnownAnswers, Users, failures, misnamed, say_traffic
from tests.documents import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
_SETTLE_S = 10
EVENTS_CLAIM, EVENTS = "taxonflow-events", "/var/taxonflow/events"


@pytest.fixture(scope="module")
def known(models: dict[str, LocalModel]) -> KnownAnswers:
    """Return the scores of the evaluation for the slices that the users send; only of the models of local runs."""
    return {(model.id, name): scores for model in models.values() for name, (_, scores) in model.examples().items()}


@pytest.fixture(scope="module")
def endpoint(kubectl: Kubectl) -> Endpoint:
    return Endpoint(kubectl)


def deploy(deployer: Deployer, model: str) -> Deployment:
    """Run the deploy step of a model to its end and print its result."""
    start = time.monotonic()
    deployer.start(model)
    result = deployer.wait()
    for line in deployer.log().splitlines():
        if line.startswith("- "):
            say(f"  {line[2:]}")
    say(f"{model}: {result.outcome}, version {result.version} is served; {time.monotonic() - start:.0f} s")
    return result


def check_answers(users: Users, start: float, known: KnownAnswers) -> None:
    """Check that no request since a time failed and that each answer is of the model that it names."""
    answers = since(users, start)
    say_traffic(answers)
    assert not failures(answers), f"{len(failures(answers))} requests failed"
    wrong = misnamed(answers, known)
    assert not wrong, f"{len(wrong)} answers: {wrong[:5]}"


def since(users: Users, start: float) -> list[Answer]:
    """Return the answers to requests after a time."""
    return [answer for answer in users.answers() if answer["at"] >= start]


def served_versions(users: Users, start: float, endpoint: Endpoint) -> set[int]:
    """Return the versions of the models that the answers since a time name; 0 for an id that is not registered."""
    versions = endpoint.versions()
    return {versions.get(answer["model"], 0) for answer in since(users, start)}


def test_the_overlay_is_applied_from_nothing(installation: Installation, kubectl: Kubectl, endpoint: Endpoint) -> None:
    names = installation.apply_overlay()
    say(f"applied {len(names)} objects: {', '.join(names)}")
    wait_for("the monitor waits for a model", lambda: _available(kubectl, "taxonflow-monitor"), 180)
    assert not endpoint.restarts()


def _available(kubectl: Kubectl, name: str) -> bool:
    deployment = kubectl.find("deployment", name) or {}
    return bool(deployment.get("status", {}).get("availableReplicas"))


def test_doctor_says_what_a_run_would_need(settings: Settings) -> None:
    access = [f"--host={settings.host}"] if settings.host else []
    run = ["--preset=smoke", f"--namespace={settings.namespace}", f"--monitored-models={MONITORED_CLAIM}"]
    command = [sys.executable, "-m", "pipelines.doctor", *run, *access]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for line in (result.stdout + result.stderr).splitlines():
        say(f"  {line}")
    assert "Traceback" not in result.stderr
    assert result.returncode == 0 or not settings.host, "doctor found what a run lacks"


def test_the_first_model_is_served(
    deployer: Deployer, users: Users, endpoint: Endpoint, models: dict[str, LocalModel], known: KnownAnswers
) -> None:
    start = time.time()
    result = deploy(deployer, UNTRAINED)
    assert (result.outcome, result.version) == ("deployed", 1)
    users.start({name: image for name, (image, _) in models[SHORT].examples().items()})
    time.sleep(_SETTLE_S)
    check_answers(users, start, known)
    assert served_versions(users, start, endpoint) == {1}


def test_overlay_and_monitor_meet_the_endpoint(endpoint: Endpoint, settings: Settings) -> None:
    specification = endpoint.service()["spec"]
    volumes = specification["transformer"]["volumes"]
    claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in volumes]
    model = specification["predictor"]["model"]
    say(f"predictor: image {model.get('image') or 'of the runtime'}, requests {model['resources']['requests']}")
    monitor = wait_for("the monitor has the model", lambda: "200" in endpoint.monitor() and endpoint.monitor(), 120)
    say(f"monitor: {monitor}")
    assert EVENTS_CLAIM in claims
    assert model.get("image", "") == settings.serving_image


def test_a_better_model_is_promoted_and_served(
    deployer: Deployer, users: Users, endpoint: Endpoint, known: KnownAnswers
) -> None:
    start = time.time()
    result = deploy(deployer, SHORT)
    end = time.time()
    time.sleep(_SETTLE_S)
    check_answers(users, start, known)
    assert (result.outcome, result.version) == ("deployed", 2)
    assert served_versions(users, end, endpoint) == {2}


def test_a_deploy_step_killed_at_three_moments_ends(
    deployer: Deployer, users: Users, endpoint: Endpoint, known: KnownAnswers
) -> None:
    start = time.time()
    deployer.start(LONG)
    moments: dict[str, Callable[[], bool]] = {
        "the canary has no users": lambda: endpoint.canary_percent() == 0,
        "the canary has users": lambda: bool(endpoint.canary_percent()),
        "the canary is promoted": lambda: endpoint.version() == "3",
    }
    for moment, is_reached in moments.items():
        wait_for(moment, is_reached, 1800, pause=0.2)
        deployer.kill()
        say(f"killed the deploy step when {moment}")
    result = deployer.wait()
    end = time.time()
    say(f"{LONG}: {result.outcome}, version {result.version} is served; {end - start:.0f} s")
    time.sleep(_SETTLE_S)
    check_answers(users, start, known)
    assert (result.outcome, result.version) == ("deployed", 3)
    assert served_versions(users, end, endpoint) == {3}


def test_a_worse_model_is_rolled_back(
    deployer: Deployer, users: Users, endpoint: Endpoint, known: KnownAnswers
) -> None:
    """The run is the first one again: Kubeflow Pipelines may take its model from the cache, but must deploy it."""
    start = time.time()
    result = deploy(deployer, UNTRAINED)
    end = time.time()
    time.sleep(_SETTLE_S)
    check_answers(users, start, known)
    assert (result.outcome, result.version) == ("rolled_back", 3)
    assert endpoint.canary_percent() is None
    assert served_versions(users, end, endpoint) == {3}


def test_each_event_names_the_model_that_answered(users: Users, endpoint: Endpoint, known: KnownAnswers) -> None:
    answers = {answer["specimen"]: answer for answer in users.stop()}
    say(f"users in all: {len(answers)} requests")
    assert not misnamed(answers.values(), known)
    versions = endpoint.versions()
    events = [event for event in endpoint.events() if event.specimen in answers]
    wrong = [
        f"{event.specimen}: {event.model_id[:12]}, version {event.version}"
        for event in events
        if (event.model_id, event.version)
        != (answers[event.specimen]["model"], versions.get(answers[event.specimen]["model"]))
    ]
    say(f"{len(events)} drift events of {len(answers)} answers, {len(wrong)} name another model")
    assert events
    assert not wrong, wrong[:5]


def test_the_drift_check_reads_these_events(deployer: Deployer, kubectl: Kubectl, settings: Settings) -> None:
    sizes = {"window_slices": 200, "window_specimens": 20}
    if isinstance(deployer, KubeflowRuns):
        options = [f"--set={name}={value}" for name, value in sizes.items()]
        run = deployer.submit("--preset=smoke", "--pipeline=drift", *options)
        assert deployer.wait_for_state(run) == "SUCCEEDED"
        return
    call = {"events": EVENTS, "models": MONITORED, "name": MODEL, "windows": 6, "sizes": sizes}
    claims = {EVENTS_CLAIM: EVENTS, MONITORED_CLAIM: MONITORED}
    kubectl.apply(script_pod(settings, "taxonflow-test-drift", "monitoring", call, claims))
    facts = wait_for_facts(kubectl, "taxonflow-test-drift", 600)
    say(f"drift check of version {facts['version']}: {facts['state']} in {facts['windows']} windows")
    assert facts["version"] == 3


def test_no_container_was_restarted(endpoint: Endpoint) -> None:
    restarts = endpoint.restarts()
    say(f"restarts: {restarts or 'none'}")
    assert not restarts


def test_everything_is_removed(installation: Installation, deployer: Deployer) -> None:
    if isinstance(deployer, KubeflowRuns):
        deployer.remove()
    installation.remove()
    wait_for("nothing is left", lambda: not installation.inventory() - installation.before, 180)
