"""Proxies in the environment, and addresses that only the client's own machine can reach."""

import json
import os
import subprocess
import sys

import pytest

from tests.http_server import Response, http_server

ASK = """
import json, sys
from serving.client import Client
try:
    print(json.dumps(Client(sys.argv[1], timeout_s=5, retry_timeout_s=0).models()))
except Exception as error:
    print(json.dumps(repr(error)))
"""


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_server_on_this_machine_is_asked_without_the_proxy(variable: str, scheme: str) -> None:
    asked: list[str] = []
    answer = Response(200, b'{"models": ["forams"]}')
    with http_server(lambda _: answer) as server, http_server(lambda request: asked.append(request.target)) as proxy:
        environment = {**os.environ, variable: proxy.replace("http://", f"{scheme}://"), "no_proxy": ""}
        command = [sys.executable, "-c", ASK, server]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (json.loads(result.stdout or '"no answer"'), asked) == (["forams"], []), result.stderr
