"""A headless Chromium opens every page of `make monitor` and inspects the screenshots."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from components.shared.subprocesses import free_port
from monitoring.config import MonitorConfig
from monitoring.service.monitor import Monitor
from tests.monitoring.drift_traffic import append_events, events_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]

ROOT = Path(__file__).parents[3]
PICTURES = os.environ.get("TAXONFLOW_PICTURES")
TIMEOUT_MS = 120_000


@dataclass(frozen=True)
class LocalStack:
    """The processes of `make monitor`, and the URL of each page."""

    process: subprocess.Popen[str]
    urls: dict[str, str]


@pytest.fixture(scope="module")
def monitored_config(
    tmp_path_factory: pytest.TempPathFactory,
    repository: Path,
    clean: pd.DataFrame,
    drifted_slices: dict[str, pd.DataFrame],
) -> MonitorConfig:
    """Evaluate four windows: two clean ones and two with blur."""
    folder = tmp_path_factory.mktemp("monitored")
    config = MonitorConfig(
        events=folder / "events", repository=repository, out=folder / "out", window_slices=60, window_specimens=8
    )
    monitor = Monitor(config)
    parts = [clean.head(64), clean.iloc[64:128], drifted_slices["blur"].head(64), drifted_slices["blur"].iloc[64:128]]
    for number, predictions in enumerate(parts):
        append_events(config.events / f"events-{number}.jsonl", events_of(predictions, start=1.8e9 + 600 * number))
    assert [bool(result.drifted) for result in monitor.poll()] == [False, False, True, True]
    return config


@pytest.fixture(scope="module")
def local_stack(monitored_config: MonitorConfig) -> Iterator[LocalStack]:
    folders = (
        "--events",
        monitored_config.events,
        "--repository",
        monitored_config.repository,
        "--out",
        monitored_config.out,
    )
    windows = (
        "--window-slices",
        monitored_config.window_slices,
        "--window-specimens",
        monitored_config.window_specimens,
    )
    arguments = [str(part) for part in (*folders, "--port", free_port(), "--", *windows)]
    process = subprocess.Popen(
        [sys.executable, "-m", "monitoring.local_stack", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    urls: dict[str, str] = {}
    for line in process.stdout:
        if match := re.search(r"(Evidently|Prometheus): (\S+)", line):
            urls[match[1]] = match[2]
        if match := re.search(r"status page: (\S+);", line):
            urls["page"] = match[1]
        if "next window: " in line:
            break
    try:
        yield LocalStack(process, urls)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        yield page
        browser.close()


LARGEST = """() => {
  const area = each => each.getBoundingClientRect().width * each.getBoundingClientRect().height;
  const drawings = [...document.querySelectorAll("svg, canvas")].sort((one, other) => area(other) - area(one));
  if (!drawings.length || area(drawings[0]) < 20000) return false;
  drawings[0].setAttribute("data-largest", "");
  return true;
}"""


def largest_drawing(page: Page) -> Locator:
    """Wait for a large drawing of any library, and return it."""
    page.wait_for_function(LARGEST)
    return page.locator("[data-largest]").first


def is_drawn(area: Page | Locator, name: str) -> bool:
    """Return whether a screenshot is not blank: some pixels differ clearly from the background."""
    png = area.screenshot(timeout=TIMEOUT_MS)
    if PICTURES:
        Path(PICTURES, f"{name}.png").write_bytes(png)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int64)
    background = np.median(pixels.reshape(-1, 3), axis=0)
    return float((np.abs(pixels - background).max(axis=2) > 40).mean()) > 0.001


def test_the_page_shows_the_state_its_causes_and_earlier_windows(local_stack: LocalStack, page: Page) -> None:
    page.goto(local_stack.urls["page"])
    expect(page.locator("p.state.bad")).to_contain_text("SUSTAINED DRIFT (2 consecutive windows) after 4 windows")
    first = page.locator("table").first.locator("tr").nth(1)
    expect(first.locator("td").first).to_have_class("bad")
    expect(first.locator("td").first).to_have_attribute("title", re.compile("Usual cause of drift: "))
    assert page.locator("table").first.locator("tr").count() == 19
    assert page.locator("figure svg polyline").count() == 7
    figures = page.locator("figure").all()
    assert [is_drawn(figure, f"page-{number}") for number, figure in enumerate(figures)] == [True] * 3
    assert is_drawn(first.locator(".scale"), "scale")
    assert is_drawn(page, "page")


def test_the_page_links_to_reports_that_need_no_network(local_stack: LocalStack, page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(local_stack.urls["page"])
    page.get_by_role("link", name="4", exact=True).click()
    expect(page.get_by_text("Dataset Drift", exact=False).first).to_be_visible()
    expect(page.get_by_text("sharpness", exact=False).first).to_be_visible()
    page.get_by_role("button", name="Detail panel visibility toggle").first.click()
    assert is_drawn(largest_drawing(page), "report-chart")
    assert is_drawn(page, "report")
    assert [url for url in requests if not url.startswith((local_stack.urls["page"], "data:", "blob:"))] == []


def test_evidently_shows_the_drift_of_the_model_over_time(local_stack: LocalStack, page: Page) -> None:
    page.goto(local_stack.urls["Evidently"])
    project = page.get_by_text("forams").first
    expect(project).to_be_visible()
    project.click()
    expect(page.get_by_text("Drift score", exact=False).first).to_be_visible()
    assert is_drawn(largest_drawing(page), "evidently-chart")
    assert is_drawn(page, "evidently")


def test_prometheus_fires_the_alert(local_stack: LocalStack, page: Page) -> None:
    if "Prometheus" not in local_stack.urls:
        pytest.skip("prometheus is not installed")
    page.goto(local_stack.urls["Prometheus"])
    page.get_by_role("link", name="Alerts").first.click()
    for _ in range(60):
        if page.get_by_text(re.compile(r"TaxonflowDriftSustained \(1 active\)")).count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.get_by_text(re.compile(r"TaxonflowDriftSustained \(1 active\)")).first).to_be_visible()
    assert is_drawn(page, "alerts")


def test_all_processes_stop_with_the_command(local_stack: LocalStack) -> None:
    os.kill(local_stack.process.pid, signal.SIGINT)
    assert local_stack.process.wait(120) == 0
    for address in local_stack.urls.values():
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address, timeout=5)
