"""The server as a process: how it starts, waits, stops, and what it never loads."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from components.shared.errors import EXIT_BAD_INPUT

Body = Callable[..., dict[str, Any]]


def run_serving(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "serving", *arguments], capture_output=True, text=True, timeout=60)


def test_an_empty_repository_is_waited_for_and_sigterm_finishes_what_was_begun(
    start_server: Any, publish: Any, tmp_path: Path, raw_slices: list[bytes], instances_of: Body
) -> None:
    server = start_server(tmp_path / "nothing-yet", ready=False)
    url = f"{server.url}/v1/models/late:predict"
    assert "holds no model yet" in server.log.read_text()
    assert httpx.get(server.url).status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 503
    assert httpx.post(url, json=instances_of(raw_slices[:1])).status_code in (404, 503)
    publish(server.repository, "late", 1)
    deadline = time.monotonic() + 60
    while httpx.get(f"{server.url}/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    answers: list[int] = []
    body = instances_of(raw_slices * 40, "last-words")
    asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body, timeout=60).status_code))
    asking.start()
    while "taxonflow_requests_in_flight 1.0" not in httpx.get(f"{server.url}/metrics").text and asking.is_alive():
        time.sleep(0.005)
    assert not answers
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(40) == 0
    asking.join()
    assert answers == [200]
    lines = "".join(file.read_text() for file in server.events.glob("*.jsonl")).splitlines()
    assert len(lines) == 240
    log = server.log.read_text()
    assert log.splitlines()[-1] == "[serve] stopped"
    assert "Traceback" not in log


def test_ctrl_c_while_it_is_loading_ends_it_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serving", "--repository", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    assert "loading TensorFlow" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "Traceback" not in rest


def test_the_log_is_a_few_lines_that_say_where_and_what_next(server: Any) -> None:
    lines = server.log.read_text().splitlines()
    assert all(line.startswith("[serve] ") for line in lines)
    assert f"[serve] ask it: python -m serving.client SLICE.png --url {server.url}" in lines
    assert "[serve] forams version 1 is being served" in lines


def test_the_default_address_is_loopback(server: Any) -> None:
    assert server.url.startswith("http://127.0.0.1:")


def test_an_occupied_port_ends_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_serving("--repository", str(tmp_path), "--port", str(port))
    assert ended.returncode == EXIT_BAD_INPUT
    assert f"127.0.0.1:{port} cannot be listened to" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_an_impossible_port_and_an_impossible_events_folder_run_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["--port", "99999"], ["--port", "0", "--events", str(tmp_path / "file" / "events")]):
        ended = run_serving("--repository", str(tmp_path), *arguments)
        assert ended.returncode == EXIT_BAD_INPUT
        assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_neither_the_server_nor_the_transformer_loads_what_it_does_not_need() -> None:
    code = (
        "import sys, serving.__main__, serving.transformer, serving.client.__main__\n"
        "assert 'tensorflow' not in sys.modules, 'tensorflow before the address is bound'\n"
        "import serving.predictors.local\n"
        "assert 'tensorflow' in sys.modules\n"
        "print(sorted({'evidently', 'kfp', 'nibabel'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip() == "[]", ended.stderr
