"""Virtual environments of exactly the packages of an image, with exactly the sources that it contains."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.images.image_contents import FOLDER, LISTS, ROOT, copy_sources
from tests.waiting import wait_until

_ADDRESS = re.compile(r"(?:listening on|status page:) (http://[^\s;/]+)")
IS_IMAGES_PLATFORM = sys.version_info[:2] == (3, 11) and (sys.platform, platform.machine()) == ("linux", "x86_64")


@dataclass(frozen=True)
class ImageEnvironment:
    """The environment of an image.

    Attributes:
        python: Interpreter of the virtual environment.
        sources: Folder with the sources.
    """

    python: Path
    sources: Path

    def variables(self) -> dict[str, str]:
        """Return the environment of a process; nothing of the tests' own environment is on its path."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        return {**kept, "PYTHONPATH": str(self.sources), "PYTHONNOUSERSITE": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments."""
        command = [str(self.python), *arguments]
        return subprocess.run(
            command, cwd=cwd, env=self.variables(), capture_output=True, text=True, check=False, timeout=280
        )

    @contextmanager
    def server(self, arguments: list[str], log: Path) -> Iterator[str]:
        """Run a server for the block; yield its address, which its log names."""
        with log.open("w") as output:
            command = [str(self.python), "-m", *arguments]
            process = subprocess.Popen(
                command, cwd=log.parent, env=self.variables(), stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_until(lambda: bool(_ADDRESS.search(log.read_text())) or process.poll() is not None, 120)
            assert process.poll() is None, log.read_text()
            match = _ADDRESS.search(log.read_text())
            assert match
            yield match[1]
        finally:
            process.terminate()  # a transformer writes its last drift events
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(image: str, folder: Path) -> ImageEnvironment:
    uv = Path(sys.executable).with_name("uv")
    venv, python = folder / "venv", folder / "venv" / "bin" / "python"
    variables = {**os.environ, "UV_REQUIRE_HASHES": "1"}  # as in the Dockerfile
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    packages = ["--no-deps", "-r", FOLDER / f"{LISTS[image]}.txt", "-c", ROOT / "requirements.lock"]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], env=variables, check=True)
    return ImageEnvironment(python, copy_sources(image, folder / "sources"))


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ImageEnvironment]:
    """Return a function that makes the environment of an image once."""
    if not IS_IMAGES_PLATFORM:
        pytest.skip("the lists are for Python 3.11 on Linux x86_64")
    environments: dict[str, ImageEnvironment] = {}

    def of(name: str) -> ImageEnvironment:
        if name not in environments:
            environments[name] = _environment(name, tmp_path_factory.mktemp(name))
        return environments[name]

    return of


@pytest.fixture(scope="session")
def run_steps(image: Callable[[str], ImageEnvironment]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a pipeline or a component in the images `names`, and returns its outputs."""

    def run(names: dict[str, str], folder: Path, call: str, **request: Any) -> dict[str, Any]:
        images = {name: [str(image(used).python), str(image(used).sources)] for name, used in names.items()}
        line = json.dumps({"call": call, "root": str(folder), "images": images, **request})
        process = subprocess.run(
            [sys.executable, "-m", "tests.images.run_steps"],
            input=f"{line}\n",
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout[-6000:] + process.stderr[-3000:]
        return dict(json.loads(process.stdout.splitlines()[-1]))

    return run
