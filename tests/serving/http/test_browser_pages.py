"""Requests of browser pages that other servers deliver."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.http_server import Response, http_server
from tests.serving.conftest import start_process
from tests.waiting import wait_until

ORIGIN = "https://pages.example.org"
ASK = """async ([url, body]) => {
    const options = {method: "POST", body: body, headers: {"Content-Type": "application/json"}};
    try { return (await (await fetch(url, options)).json()).predictions.length } catch (error) { return String(error) }
}"""


def preflight(url: str, origin: str = ORIGIN, **headers: str) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    return httpx.request("OPTIONS", f"{url}/v1/models/forams:predict", headers={**asked, **headers})


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """Serve an empty page; yield its origin."""
    with http_server(lambda _: Response.of_json({})) as address:
        yield address


@pytest.fixture(scope="module")
def allowed(server: Any, pages: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server that allows ORIGIN and the page; yield its address."""
    options = ["--allow-origin", f"{ORIGIN}:443/", "--allow-origin", pages]
    log = tmp_path_factory.mktemp("allowed") / "log.txt"
    process, url = start_process(["serving", "--repository", str(server.repository), "--port", "0", *options], log)
    wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, pause_s=0.2)
    yield url
    process.kill()
    process.wait()


def test_no_page_is_allowed_by_default(server: Any) -> None:
    response = preflight(server.url)
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_preflight_of_an_allowed_page_is_answered(allowed: str) -> None:
    response = preflight(allowed, **{"Access-Control-Request-Private-Network": "true"})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "Content-Type" in response.headers["access-control-allow-headers"]
    assert response.headers["access-control-allow-private-network"] == "true"
    assert "origin" in response.headers["vary"].lower()


def test_another_page_is_not_allowed(allowed: str) -> None:
    for origin in ("https://pages.example.org.evil.net", "http://pages.example.org", "null"):
        assert preflight(allowed, origin).status_code == 400
        response = httpx.get(f"{allowed}/v1/models", headers={"Origin": origin})
        assert "access-control-allow-origin" not in response.headers


def test_an_allowed_page_can_read_answers_and_errors(allowed: str) -> None:
    headers = {"Origin": ORIGIN}
    for response in (
        httpx.get(f"{allowed}/v1/models/forams", headers=headers),
        httpx.get(f"{allowed}/v1/models/nothing", headers=headers),
        httpx.post(f"{allowed}/v1/models/forams:predict", content=b"no JSON", headers=headers),
    ):
        assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_page_in_chromium_gets_predictions(
    server: Any, allowed: str, pages: str, segmented_slices: list[bytes], instances_of: Callable[..., Any]
) -> None:
    from playwright.sync_api import sync_playwright

    body = json.dumps(instances_of(segmented_slices[:2]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(pages)
        answers = [page.evaluate(ASK, [f"{url}/v1/models/forams:predict", body]) for url in (allowed, server.url)]
        browser.close()
    assert answers == [2, "TypeError: Failed to fetch"]
