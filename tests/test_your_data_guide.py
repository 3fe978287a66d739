"""The run on real photographs in docs/guides/your-data.md."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.documents import ROOT, commands_of

PHOTOGRAPHS = ROOT.parent / "shared" / "real_organisms" / "phytoplankton"
COMMAND = "make run PHOTOS=phytoplankton"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the photographs are not on this machine")
def test_the_phytoplankton_of_the_guide_is_trained_and_served(tmp_path: Path) -> None:
    guide = ROOT / "docs" / "guides" / "your-data.md"
    assert COMMAND in commands_of(guide)
    environment = {name: value for name, value in os.environ.items() if name != "PRESET"}
    command = [*COMMAND.partition("PHOTOS=")[0].split(), f"PHOTOS={PHOTOGRAPHS}", f"OUT={tmp_path}"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]
    summary = json.loads((tmp_path / "latest" / "summary.json").read_text())
    assert summary["outcome"] == "deployed"
    assert summary["ensemble"]["folds"]["count"] == 5
    assert summary["ensemble"]["accuracy"] >= 0.84
    assert re.search(r"about \d+ min left in all", " ".join(result.stdout.split()))
    assert set(summary["backbones"]) == {"efficientnet_lite0", "cnn_small"}
