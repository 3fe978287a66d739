"""Ten rollouts under users' requests: every answer, event and record names the model that made it.

Model servers, the proxies before them and the transformer's processes are real; the transformer is started again for
each change of its options, and old pods answer on their open connections for a while. Each model predicts a species of
its own, which proves who answered.
"""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from components.deploy.canary.settings import CanarySettings, CanaryTrial, Retries
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.target import roll_out_in
from components.deploy.records import DeployRecords
from components.deploy.verified_model import verify_model
from components.shared.images.decoding import encode_png
from components.shared.subprocesses import free_port
from tests.benchmarks.measurement import Measurement
from tests.deploy.conftest import serve_cluster, write_artifact
from tests.deploy.draining import TcpProxy
from tests.deploy.fake_cluster import FakeCluster
from tests.http_server import Request, Response, http_server
from tests.waiting import wait_until

ROLLOUTS, REQUESTS, CLIENTS = 10, 10_000, 4
LIFETIME_S = 3.0
NUMBERS = range(1, ROLLOUTS + 2)
SPECIES = tuple(f"species {number}" for number in NUMBERS)
IMAGE = encode_png(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8))
PREDICTORS = ("forams-predictor", "forams-canary-predictor")
TRANSFORMER = ("lab", "forams-transformer")


def id_of(number: int) -> str:
    return f"{number:064x}"


def scores_of(number: int) -> list[float]:
    return [0.9 if each == number else 0.01 for each in NUMBERS]


class ModelServer:
    """Answers as TensorFlow Serving with the model of a number."""

    def __init__(self, number: int) -> None:
        self.row = {
            "species": SPECIES[number - 1],
            "confidence": 0.9,
            "scores": scores_of(number),
            "unknown": False,
            "embedding": [0.0],
            "unknown_score": 0.1,
            "model": id_of(number),
        }

    def __call__(self, request: Request) -> Response:
        if request.method == "GET":
            return Response.of_json({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})
        return Response.of_json({"predictions": [self.row] * len(json.loads(request.body)["instances"])})


class Endpoint:
    """Pods of a fake cluster's InferenceService: model servers, and processes of the transformer."""

    def __init__(self, cluster: FakeCluster, folder: Path, stack: ExitStack) -> None:
        self.cluster, self.folder = cluster, folder
        self.ports = {uri_of(number): port_of(stack, number) for number in NUMBERS}
        self.proxies = {name: stack.enter_context(closing(TcpProxy())) for name in (*PREDICTORS, TRANSFORMER[1])}
        self.processes: list[subprocess.Popen[bytes]] = []
        cluster.on_complete = self.replace_pods
        cluster.transformer_address = self.proxies[TRANSFORMER[1]].address
        self.entrance = stack.enter_context(http_server(self.forward))
        self._client = httpx.Client(trust_env=False, timeout=10)
        stack.callback(self.stop)

    def forward(self, request: Request) -> Response:
        """Forward a direct request of the deploy step, `/<namespace>/<service>/...`, on kept connections."""
        _, _, service, path = request.path.split("/", 3)
        answer = self._client.post(f"{self.proxies[service].address}/{path}", content=request.body)
        return Response(answer.status_code, answer.content)

    def replace_pods(self, deployment: str, uri: str) -> None:
        if deployment != TRANSFORMER[1]:
            self.proxies[deployment].point_to(self.ports[uri], LIFETIME_S)
            return
        port = self.start_transformer()
        self.proxies[deployment].point_to(port, LIFETIME_S)
        for process in self.processes[:-1]:
            process.terminate()

    def start_transformer(self) -> int:
        """Start a transformer with the options of its Deployment; return its port when it is ready."""
        template = self.cluster.deployments[TRANSFORMER]["spec"]["template"]
        options = list(template["spec"]["containers"][0]["args"])
        options[options.index("--events") + 1] = str(self.folder / "events" / str(len(self.processes)))
        if "--canary_host" in options:
            options[options.index("--canary_host") + 1] = urlsplit(self.proxies[PREDICTORS[1]].address).netloc
        predictor, port = urlsplit(self.proxies[PREDICTORS[0]].address).netloc, free_port()
        annotations = template["metadata"]["annotations"]
        environment = {
            "TAXONFLOW_MODEL_VERSION": annotations["taxonflow.dev/model-version"],
            "TAXONFLOW_MODEL_VERSIONS": annotations["taxonflow.dev/model-versions"],
        }
        command = [
            sys.executable,
            "-m",
            "serving.transformer",
            *options,
            "--model_name",
            "forams",
            "--host",
            "127.0.0.1",
        ]
        command += ["--predictor_host", predictor, "--http_port", str(port)]
        with (self.folder / "transformers.log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log))
        wait_until(lambda: is_ready(port), 90)
        return port

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=60)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def uri_of(number: int) -> str:
    return f"pvc://runs/{number}"


def port_of(stack: ExitStack, number: int) -> int:
    return int(stack.enter_context(http_server(ModelServer(number))).rpartition(":")[2])


class Users:
    """Clients that send a slice each, all the time, and compare who answered with whom the answer names."""

    def __init__(self, url: str) -> None:
        self.url, self.image = url, base64.b64encode(IMAGE).decode()
        self.counts: Counter[str] = Counter()
        self.done = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for client in range(CLIENTS):
            thread = threading.Thread(target=self.ask, args=(client,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()

    def ask(self, client_number: int) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self.done.is_set():
                specimen = f"specimen-{client_number}"
                body = {"instances": [{"image_bytes": {"b64": self.image}, "specimen": specimen}]}
                try:
                    response = client.post(self.url, json=body)
                except httpx.TransportError:  # a transformer that ends closes its kept connections
                    self.counts["repeated"] += 1
                    continue
                self.count(response, specimen)

    def count(self, response: httpx.Response, specimen: str) -> None:
        if response.status_code != httpx.codes.OK:
            self.counts["failed"] += 1
            return
        document = response.json()
        self.counts["answered"] += 1
        named = (document["predictions"][0], document["specimens"][specimen])
        if any(answer["model"] != maker_of(answer["species"]) for answer in named):
            self.counts["misnamed"] += 1


def maker_of(species: str) -> str:
    return id_of(SPECIES.index(species) + 1)


def count_events(folder: Path) -> Counter[str]:
    """Count the drift events, those that name another model or version, and those of an unknown version."""
    counts: Counter[str] = Counter()
    for file in folder.rglob("*.jsonl"):
        for line in file.read_text().splitlines():
            event = json.loads(line)
            number = SPECIES.index(event["species"]) + 1
            counts["events"] += 1
            counts["misnamed"] += event["model_id"] != id_of(number) or event["version"] not in (0, number)
            counts["unknown version"] += event["version"] == 0
    return counts


def misnamed_records(cluster: FakeCluster) -> int:
    """Return the number of entries of the version registry that name another model."""
    entries = {
        int(number): json.loads(text) for number, text in cluster.config_maps["lab", "forams-versions"]["data"].items()
    }
    wrong = [
        number
        for number, entry in entries.items()
        if (entry["uri"], entry["model_id"]) != (uri_of(number), id_of(number))
    ]
    return len(wrong) + abs(len(entries) - len(NUMBERS))


def roll_out_all(endpoint: Endpoint, folder: Path, users: Users) -> int:
    """Roll out the models one after another while users ask; return how many results name another model."""
    settings = CanarySettings(
        percent=25, pairs=50, slower=1000, predictor=f"{endpoint.entrance}/{{namespace}}/{{service}}"
    )
    trial = CanaryTrial(settings, None, Retries(timeout=300.0, pause=0.5))
    lab, misnamed = Cluster("lab"), 0
    for number in NUMBERS:
        artifact = write_artifact(
            folder / str(number),
            mark=str(number),
            scores=scores_of(number),
            classes=SPECIES,
            segmented=False,
            image=IMAGE,
            model_id=id_of(number),
        )
        result = roll_out_in(
            lab, "forams", verify_model(artifact, uri_of(number), "foraminifera"), trial, DeployRecords()
        )
        misnamed += (result.version, result.model_id, result.outcome) != (number, id_of(number), "deployed")
        if number == 1:
            users.start()
        while users.counts["answered"] < REQUESTS * (number - 1) / ROLLOUTS:
            time.sleep(0.1)
    return misnamed


def _names(scratch: Path) -> Iterator[Measurement]:
    cluster = FakeCluster(lambda _: [])
    cluster.grace_period_s = 5
    os.environ["KUBECONFIG"] = str(scratch / "kubeconfig")
    with ExitStack() as stack:
        stack.enter_context(serve_cluster(cluster, scratch / "kubeconfig"))
        endpoint = Endpoint(cluster, scratch, stack)
        users = Users(f"{cluster.transformer_address}/v1/models/forams:predict")
        misnamed = roll_out_all(endpoint, scratch, users)
        users.stop()
    events = count_events(scratch / "events")
    answers = users.counts
    yield Measurement(
        "rollout-names answers", answers["misnamed"], f"of {answers['answered']} name another model", bar="0"
    )
    yield Measurement("rollout-names failures", answers["failed"], f"of {answers['answered']} requests", bar="0")
    yield Measurement("rollout-names events", events["misnamed"], f"of {events['events']} name another model", bar="0")
    yield Measurement(
        "rollout-names unknown versions", events["unknown version"], f"of {events['events']} events", bar="0"
    )
    records = misnamed + misnamed_records(cluster)
    yield Measurement("rollout-names records", records, f"of {2 * len(NUMBERS)} name another model", bar="0")


BENCHMARKS = {"rollout-names": _names}
