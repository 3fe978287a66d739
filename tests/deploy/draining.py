"""Endpoint whose old pods still answer for a while after a promotion: real model servers, TCP proxy and connections."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import httpx

from tests.deploy.fake_cluster import FakeCluster
from tests.http_server import Request, Response, http_server

PREDICTOR = "forams-predictor"


class TcpProxy:
    """TCP proxy like a Kubernetes Service: a new connection goes to the current pod, an open one stays with its pod."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.port = 0
        self.accepted = 0
        self._connections: list[tuple[int, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def point_to(self, port: int, lifetime_s: float) -> None:
        """Let new connections go to another pod, and close those to the current one after its lifetime."""
        old, self.port = self.port, port
        if old != port:
            timer = threading.Timer(lifetime_s, self.end, (old,))
            timer.daemon = True
            timer.start()

    def end(self, port: int) -> None:
        """Close the connections to a pod, as its process does when it ends."""
        for place, connection in list(self._connections):
            if place == port:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for port in {port for port, _ in self._connections}:
            self.end(port)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.accepted += 1
            try:
                pod = socket.create_connection(("127.0.0.1", self.port))
            except OSError:  # no pod is ready
                client.close()
                continue
            self._connections += [(self.port, client), (self.port, pod)]
            for source, sink in ((client, pod), (pod, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for connection in (source, sink):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class Transformer:
    """Transformer of an endpoint: forwards requests to its predictor, on kept connections or on new ones."""

    def __init__(self, predictor: str, keeps_connections: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=None if keeps_connections else 0, keepalive_expiry=None)
        self._client = httpx.Client(base_url=predictor, limits=limits, trust_env=False, timeout=10)

    def __call__(self, request: Request) -> Response:
        try:
            answer = self._client.post(request.path, content=request.body)
        except httpx.HTTPError as error:
            return Response.of_json({"error": str(error)}, 503)
        return Response(answer.status_code, answer.content)


def model_server(stack: ExitStack, model_id: str, scores: list[float]) -> int:
    """Start a server that answers as a model; return its port."""

    def answer(request: Request) -> Response:
        prediction = {"scores": scores, "species": "Alveolina", **({"model": model_id} if model_id else {})}
        return Response.of_json({"predictions": [prediction] * len(json.loads(request.body)["instances"])})

    return int(stack.enter_context(http_server(answer)).rpartition(":")[2])


@contextmanager
def draining(
    cluster: FakeCluster,
    models: dict[str, tuple[str, list[float]]],
    lifetime_s: float,
    keeps_connections: bool,
    pause_s: float = 0.02,
) -> Iterator[None]:
    """Let the predictor of a fake cluster be real servers, whose pods live on after they were replaced.

    Args:
        cluster: Cluster whose transformer and stable predictor become servers.
        models: Model id and scores by URI.
        lifetime_s: Seconds for which an old pod answers on open connections.
        keeps_connections: Whether the transformer keeps its connections to the predictor.
        pause_s: Seconds between two requests of the user.
    """
    with ExitStack() as stack:
        ports = {uri: model_server(stack, *model) for uri, model in models.items()}
        proxy = stack.enter_context(closing(TcpProxy()))

        def replace_pods(deployment: str, uri: str) -> None:
            if deployment == PREDICTOR:
                proxy.point_to(ports[uri], lifetime_s)

        cluster.model_ids = {uri: model_id for uri, (model_id, _) in models.items() if model_id}
        cluster.on_complete = replace_pods
        cluster.transformer_address = stack.enter_context(http_server(Transformer(proxy.address, keeps_connections)))
        stack.enter_context(users(cluster.transformer_address, pause_s))
        yield


@contextmanager
def users(address: str, pause_s: float) -> Iterator[list[Any]]:
    """Send a user's requests all the time; yield the models that answered."""
    answers: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not done.is_set():
                with suppress(httpx.HTTPError):
                    response = client.post(f"{address}/v1/models/forams:predict", json={"instances": [{}]})
                    answers.append(response.json().get("predictions"))
                done.wait(pause_s)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        done.set()
        thread.join()
