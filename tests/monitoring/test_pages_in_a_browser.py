"""What a person sees: a headless Chromium opens every page that `make monitor` prints, and looks at the picture."""

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

ROOT = Path(__file__).parents[2]
PICTURES = os.environ.get("TAXONFLOW_PICTURES")
PATIENCE_MS = 120_000


@dataclass(frozen=True)
class Laptop:
    """What `make monitor` started."""

    process: subprocess.Popen[str]
    addresses: dict[str, str]


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory,
    repository: Path,
    clean: pd.DataFrame,
    corrupted: dict[str, pd.DataFrame],
) -> MonitorConfig:
    """A monitor's folder after four windows: two clean ones and two of blurred slices."""
    folder = tmp_path_factory.mktemp("watched")
    config = MonitorConfig(
        events=folder / "events", repository=repository, out=folder / "out", window_slices=60, window_specimens=8
    )
    monitor = Monitor(config)
    parts = [clean.head(64), clean.iloc[64:128], corrupted["blur"].head(64), corrupted["blur"].iloc[64:128]]
    for number, answers in enumerate(parts):
        append_events(config.events / f"events-{number}.jsonl", events_of(answers, start=1.8e9 + 600 * number))
    assert [bool(result.drifted) for result in monitor.poll()] == [False, False, True, True]
    return config


@pytest.fixture(scope="module")
def laptop(watched: MonitorConfig) -> Iterator[Laptop]:
    folders = ("--events", watched.events, "--repository", watched.repository, "--out", watched.out)
    windows = ("--window-slices", watched.window_slices, "--window-specimens", watched.window_specimens)
    arguments = [str(part) for part in (*folders, "--port", free_port(), "--", *windows)]
    process = subprocess.Popen(
        [sys.executable, "-m", "monitoring.local_stack", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    addresses: dict[str, str] = {}
    for line in process.stdout:
        if found := re.search(r"(Evidently|Prometheus): (\S+)", line):
            addresses[found[1]] = found[2]
        if found := re.search(r"for people (\S+);", line):
            addresses["page"] = found[1]
        if "windows; " in line:
            break
    try:
        yield Laptop(process, addresses)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1280, "height": 1000})
        opened.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield opened
        browser.close()


LARGEST = """() => {
  const area = each => each.getBoundingClientRect().width * each.getBoundingClientRect().height;
  const drawings = [...document.querySelectorAll("svg, canvas")].sort((one, other) => area(other) - area(one));
  if (!drawings.length || area(drawings[0]) < 20000) return false;
  drawings[0].setAttribute("data-largest", "");
  return true;
}"""


def largest_drawing(page: Page) -> Locator:
    """Waits for a drawing of some size, whatever library made it."""
    page.wait_for_function(LARGEST)
    return page.locator("[data-largest]").first


def is_drawn(place: Page | Locator, name: str) -> bool:
    """Whether a picture shows more than a plain ground: some of its pixels differ clearly from it."""
    png = place.screenshot(timeout=PATIENCE_MS)
    if PICTURES:
        Path(PICTURES, f"{name}.png").write_bytes(png)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int64)
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    return float((np.abs(pixels - ground).max(axis=2) > 40).mean()) > 0.001


def test_the_page_shows_the_state_its_reasons_and_the_windows_before(laptop: Laptop, page: Page) -> None:
    page.goto(laptop.addresses["page"])
    expect(page.locator("p.state.bad")).to_contain_text("SUSTAINED DRIFT (2 windows in a row) after 4 windows")
    first = page.locator("table").first.locator("tr").nth(1)
    expect(first.locator("td").first).to_have_class("bad")
    expect(first.locator("td").first).to_have_attribute("title", re.compile("Usual reason to drift: "))
    assert page.locator("table").first.locator("tr").count() == 19
    assert page.locator("figure svg polyline").count() == 6
    figures = page.locator("figure").all()
    assert [is_drawn(figure, f"page-{number}") for number, figure in enumerate(figures)] == [True] * 3
    assert is_drawn(first.locator(".scale"), "scale")
    assert is_drawn(page, "page")


def test_the_page_leads_to_a_windows_report_which_draws_without_the_network(laptop: Laptop, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(laptop.addresses["page"])
    page.get_by_role("link", name="4", exact=True).click()
    expect(page.get_by_text("Dataset Drift", exact=False).first).to_be_visible()
    expect(page.get_by_text("sharpness", exact=False).first).to_be_visible()
    page.get_by_role("button", name="Detail panel visibility toggle").first.click()
    assert is_drawn(largest_drawing(page), "report-chart")
    assert is_drawn(page, "report")
    assert [url for url in asked if not url.startswith((laptop.addresses["page"], "data:", "blob:"))] == []


def test_evidentlys_ui_shows_the_model_and_its_drift_over_time(laptop: Laptop, page: Page) -> None:
    page.goto(laptop.addresses["Evidently"])
    project = page.get_by_text("forams").first
    expect(project).to_be_visible()
    project.click()
    expect(page.get_by_text("Drift score", exact=False).first).to_be_visible()
    assert is_drawn(largest_drawing(page), "evidently-chart")
    assert is_drawn(page, "evidently")


def test_prometheus_knows_both_targets_and_fires_the_alert(laptop: Laptop, page: Page) -> None:
    if "Prometheus" not in laptop.addresses:
        pytest.skip("prometheus is not installed")
    page.goto(laptop.addresses["Prometheus"])
    page.get_by_role("link", name="Alerts").first.click()
    for _ in range(60):
        if page.get_by_text(re.compile(r"TaxonflowDriftSustained \(1 active\)")).count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.get_by_text(re.compile(r"TaxonflowDriftSustained \(1 active\)")).first).to_be_visible()
    assert is_drawn(page, "alerts")


def test_everything_ends_politely_with_the_command(laptop: Laptop) -> None:
    os.kill(laptop.process.pid, signal.SIGINT)
    assert laptop.process.wait(120) == 0
    for address in laptop.addresses.values():
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address, timeout=5)
