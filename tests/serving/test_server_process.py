"""The server process: start, empty repository, stop, and imports."""

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
from tests.waiting import wait_until

Body = Callable[..., dict[str, Any]]


def run_serving(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "serving", *arguments], capture_output=True, text=True, timeout=60)


def test_an_empty_repository_is_polled_and_sigterm_finishes_requests(
    start_server: Any, publish: Any, tmp_path: Path, raw_slices: list[bytes], instances_of: Body
) -> None:
    server = start_server(tmp_path / "nothing-yet", ready=False)
    url = f"{server.url}/v1/models/late:predict"
    assert "holds no model yet" in server.log.read_text()
    assert httpx.get(server.url).status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 503
    assert httpx.post(url, json=instances_of(raw_slices[:1])).status_code in (404, 503)
    publish(server.repository, "late", 1)
    wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200, pause_s=0.1)
    answers: list[int] = []
    body = instances_of(raw_slices * 40, "last-words")
    thread = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body, timeout=60).status_code))
    thread.start()
    while "taxonflow_requests_in_flight 1.0" not in httpx.get(f"{server.url}/metrics").text and thread.is_alive():
        time.sleep(0.005)
    assert not answers
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(40) == 0
    thread.join()
    assert answers == [200]
    lines = "".join(file.read_text() for file in server.events.glob("*.jsonl")).splitlines()
    assert len(lines) == 240
    log = server.log.read_text()
    assert log.splitlines()[-1] == "[serve] stopped"
    assert "Traceback" not in log


def test_ctrl_c_during_loading_exits_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serving", "--repository", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    assert "loading TensorFlow" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "Traceback" not in rest


def test_the_log_has_the_address_and_the_next_command(server: Any) -> None:
    lines = server.log.read_text().splitlines()
    assert all(line.startswith("[serve] ") for line in lines)
    assert f"[serve] classify a slice: python -m serving.client SLICE.png --url {server.url}" in lines
    assert "[serve] forams version 1 is being served" in lines


def test_the_default_address_is_loopback(server: Any) -> None:
    assert server.url.startswith("http://127.0.0.1:")


def test_an_occupied_port_exits_with_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = run_serving("--repository", str(tmp_path), "--port", str(port))
    assert process.returncode == EXIT_BAD_INPUT
    assert f"cannot listen on 127.0.0.1:{port}" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_an_invalid_port_or_events_folder_exits_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["--port", "99999"], ["--port", "0", "--events", str(tmp_path / "file" / "events")]):
        process = run_serving("--repository", str(tmp_path), *arguments)
        assert process.returncode == EXIT_BAD_INPUT
        assert len(process.stderr.splitlines()) == 1, process.stderr


def test_server_transformer_and_client_import_no_unneeded_library() -> None:
    code = (
        "import sys, serving.__main__, serving.transformer, serving.client.__main__\n"
        "assert 'tensorflow' not in sys.modules, 'tensorflow before the address is bound'\n"
        "import serving.predictors.local\n"
        "assert 'tensorflow' in sys.modules\n"
        "print(sorted({'evidently', 'kfp', 'nibabel'} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.stdout.strip() == "[]", process.stderr
