"""Addresses of endpoints: a forwarded port, a path, a model's predictions, an own authority, an ingress."""

from pathlib import Path

import pytest

from components.shared.errors import BadInputError
from serving.client import Client
from serving.client.__main__ import main
from serving.client.address import Address, connection_remedy, parse_address
from tests.http_server import Request, Response, http_server
from tests.own_authority import server_context

SERVER = "http://127.0.0.1:8081"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (SERVER, Address(SERVER)),
        (f" {SERVER}/ ", Address(SERVER)),
        (f"{SERVER}/v1", Address(SERVER)),
        (f"{SERVER}/v1/models/", Address(SERVER)),
        (f"{SERVER}/v1/models/forams", Address(SERVER, "forams")),
        (f"{SERVER}/v1/models/forams:predict", Address(SERVER, "forams")),
        (f"{SERVER}/v1/models/my%20forams/metadata", Address(SERVER, "my forams")),
        ("https://gate.example.org/lab/forams", Address("https://gate.example.org/lab/forams")),
        (
            "https://gate.example.org/lab/forams/v1/models/forams:predict",
            Address("https://gate.example.org/lab/forams", "forams"),
        ),
        ("http://[::1]:8081", Address("http://[::1]:8081")),
    ],
)
def test_an_address_is_that_of_a_server_and_perhaps_a_model(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8081",
        "localhost",
        "kserve://lab/forams",
        "grpc://127.0.0.1:9000",
        "http://",
        "http://[::1",
        "http://h:port",
        f"{SERVER}?a=1",
        f"{SERVER}#a",
        "http://user:secret@h",
        f"{SERVER}/v2/models/forams/infer",
        f"{SERVER}/v2",
        f"{SERVER}/v1/models/forams:explain",
        f"{SERVER}/v1/models/forams/versions/3",
    ],
)
def test_another_address_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInputError) as error:
        parse_address(text)
    assert "secret" not in str(error.value)
    assert main(["--url", text, __file__]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "reason", "remedy"),
    [
        (
            "http://forams-transformer.lab.svc.cluster.local",
            "no such host",
            "kubectl -n lab port-forward svc/forams-transformer 8081:80",
        ),
        (SERVER, "refused", "make serve"),
        ("https://gate.example.org", "refused", "network"),
        ("https://gate.example.org", "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", "Set CA"),
    ],
)
def test_an_address_that_is_not_reached_has_a_remedy(url: str, reason: str, remedy: str) -> None:
    assert remedy in connection_remedy(url, reason)


def test_a_gateways_path_and_host_are_in_every_request() -> None:
    requests: list[tuple[str, str]] = []

    def respond(request: Request) -> Response:
        requests.append((request.path, request.headers["host"]))
        return Response.of_json({"models": ["forams"], "metadata": {}})

    with http_server(respond) as server, Client(f"{server}/lab", host="forams.example.org") as client:
        client.models()
        client.metadata("forams")
    name = "forams.example.org"
    assert requests == [("/lab/v1/models", name), ("/lab/v1/models/forams/metadata", name)]


def test_model_and_address_must_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    url = f"{SERVER}/v1/models/forams:predict"
    assert main(["--url", url, "--model", "fish", str(tmp_path / "a.png")]) == 2
    assert "fish" in capsys.readouterr().err


def test_the_model_of_the_address_is_asked_with_an_own_authority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths: list[str] = []

    def respond(request: Request) -> Response:
        paths.append(request.path)
        return Response.of_json({"error": "rejected"}, 400 if request.method == "POST" else 200)

    (tmp_path / "a.png").write_bytes(b"x")
    with http_server(respond, server_context(tmp_path)) as server:
        arguments = ["--url", f"{server}/v1/models/forams:predict", str(tmp_path / "a.png")]
        assert main(arguments) == 1
        assert "Set CA" in capsys.readouterr().err
        main([*arguments, "--ca", str(tmp_path / "ca.pem")])
    assert paths == ["/v1/models/forams/metadata"]
