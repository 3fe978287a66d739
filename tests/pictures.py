"""`make pictures`: write the console output of a run into README.md, and screenshots of its pages into docs/images.

All of them are of the latest run in `--out`; without one, the preset `sample` is run first. The monitor's page shows
the model of that run after two windows without drift and two of a noisy detector. It needs chromium.
"""

import argparse
import base64
import io
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console

from components.shared.contracts import ModelCard
from components.shared.progress import log
from monitoring.drift.windows import Stream
from pipelines.local.demo import parse_options, run_phases, start_server_and_monitor, traffic_config
from pipelines.local.process import ROOT_FOLDER, Artifacts
from pipelines.local.run import LATEST, SUMMARY_FILE
from pipelines.local.summary import Summary, print_outcome

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
START_MARK, END_MARK = "<!-- run -->", "<!-- /run -->"
COLUMNS, MAX_BYTES = 80, 500_000
REPORT_WIDTH, MONITOR_WIDTH, MARGIN = 1000, 900, 16


def main(arguments: list[str]) -> None:
    """Write README's console output and all pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the run (default: %(default)s)")
    out: Path = parser.parse_args(arguments).out.resolve()
    if not (out / LATEST / SUMMARY_FILE).is_file():
        command = [sys.executable, "-m", "pipelines.run", "--out", str(out)]
        subprocess.run(command, cwd=ROOT, check=True)
    summary = Summary.read(out / LATEST / SUMMARY_FILE)
    if summary.report is None or summary.model is None or not summary.synthetic:
        raise SystemExit(f"{out / LATEST} is not a deployed run of synthetic specimens. Set OUT to another folder.")
    readme = ROOT / "README.md"
    readme.write_text(insert_output(readme.read_text(), console_output(summary, out)))
    write_picture("contact-sheet.png", contact_sheet(out))
    write_picture("report.png", screenshot(Path(summary.report).as_uri(), REPORT_WIDTH))
    write_picture("monitor.png", monitor_page(summary, out))


def console_output(summary: Summary, out: Path) -> str:
    """Return the outcome of a run as a console of 80 columns prints it, without the paths at the end."""
    text = io.StringIO()
    print_outcome(summary, out / LATEST / SUMMARY_FILE, out, Console(file=text, width=COLUMNS))
    lines = [line.rstrip() for line in text.getvalue().partition("\nSummary: ")[0].strip("\n").splitlines()]
    return "\n".join(lines)


def insert_output(document: str, output: str) -> str:
    """Return a document with a console output between its two marks."""
    block = f"{START_MARK}\n```\n{output}\n```\n{END_MARK}"
    text, count = re.subn(f"{START_MARK}.*?{END_MARK}", lambda _: block, document, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"README.md has {count} places between {START_MARK} and {END_MARK}: expected one.")
    return text


def contact_sheet(out: Path) -> bytes:
    """Return the picture in the contact sheet of the run's phantoms."""
    page = Artifacts(out / LATEST / ROOT_FOLDER).of("phantoms", "contact_sheet")
    if page is None:
        raise SystemExit(f"{out / LATEST} has no phantoms.")
    match = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page.read_text())
    if match is None:
        raise SystemExit(f"{page} has no picture.")
    return base64.b64decode(match[1])


def monitor_page(summary: Summary, out: Path) -> bytes:
    """Return a screenshot of the monitor's page after the first two phases of the demonstration."""
    assert summary.model is not None
    options, console = parse_options(["--out", str(out)]), Console()
    name, version = summary.model["name"], int(summary.model["version"])
    config = traffic_config(options, ModelCard.read(Path(summary.model["path"]) / "model.json").classes)
    folder = out / "demo" / time.strftime("%Y%m%d-%H%M%S-pictures")
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        client, monitor = start_server_and_monitor(options, folder, name, version, stack, console)
        for result in islice(run_phases(config, client, monitor, Stream(name, version), folder, console), 2):
            log("pictures", f"{result.phase.name}: {'as expected' if result.as_expected else 'NOT as expected'}")
        return screenshot(f"{monitor.monitor}/", MONITOR_WIDTH)


def screenshot(url: str, width: int) -> bytes:
    """Return a page from its top to the end of its first table as PNG, as a headless chromium draws it."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("chromium is not installed. Install it, for example with apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": width})
        page.goto(url, wait_until="load")
        page.wait_for_timeout(1000)  # for drawings made by scripts
        table = page.locator("table").first.bounding_box()
        assert table is not None
        height = table["y"] + table["height"] + MARGIN
        png = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
        browser.close()
    return png


def write_picture(name: str, png: bytes) -> None:
    """Write a picture with a palette of 256 colours, which makes it several times smaller."""
    data = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(data, "PNG", optimize=True)
    small = data.getvalue()
    if len(small) > MAX_BYTES:
        raise SystemExit(f"{name} has {len(small):,} bytes: expected at most {MAX_BYTES:,}.")
    IMAGES.mkdir(parents=True, exist_ok=True)
    (IMAGES / name).write_bytes(small)
    log("pictures", f"docs/images/{name} ({len(small):,} bytes)")


if __name__ == "__main__":
    main(sys.argv[1:])
