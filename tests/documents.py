"""The shell commands in README.md and docs/, and the way in which each is tested."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

KINDS: tuple[tuple[str, str], ...] = (
    # Run on the smoke preset, in the order of a first session, by test_the_first_session_of_a_user_succeeds.
    (r"make run VOLUMES=my-scans|make serve|make monitor", "session"),
    (r"make ask|make ask IMAGES=\S+( \S+)*", "served"),
    (r"curl .*127\.0\.0\.1:8080/.*|\.venv/bin/python -m serving\.client (?!.*--help).*", "served"),
    (r"curl .*127\.0\.0\.1:9108/.*", "monitored"),
    # Run by the slow tests, on the preset itself.
    (r"make run|make demo|make run PRESET=fish-sample|make run PHOTOS=(my-photos|phytoplankton)", "slow"),
    # Run, and expected to end with exit code 0.
    (r"make (compile|help)\b.*|kubectl kustomize \S+|\.venv/bin/python -m [\w.]+ .*--help|openssl .*", "run"),
    (r"\.venv/bin/python -m (pipelines\.compile|monitoring\.event_log) .*", "run"),
    # Expanded by make only: they need a token.
    (r"make (doctor|submit) .*TOKEN_FILE=.*", "dry run"),
    # Run against a host that does not exist: the error has to be one line.
    (r"make submit HOST=https://kubeflow\.example\.org( \w+=(\"[^\"]*\"|\S+))*", "submit"),
    # Expanded by make, and the options of the run are checked.
    (r"(\w+=\S+ )*make run( \w+=\S+)+|(\w+=\S+ )+make run", "options"),
    # Expanded by make only.
    (r"(\w+=\S+ )*make (serve|ask|monitor|demo|phantoms)( \w+=(\"[^\"]*\"|\S+))*", "dry run"),
    (r"make (setup|test|test-all|lint|lock|clean|dashboards|docs|pictures|figures)( \w+=\S+)*", "dry run"),
    (r"make (images push|images|push|doctor|test-cluster|benchmark)( \w+=(\"[^\"]*\"|\S+))*", "dry run"),
    (r"make submit( (?!HOST=https:)\w+=(\"[^\"]*\"|\S+))*", "dry run"),
    # For a cluster or another machine: the syntax, and the files of this repository that the command names.
    (r"(kubectl|helm|docker|podman|kfp) .*|git clone .*|cd \S+|export \w+=.*", "syntax"),
)
"""(pattern of a whole command, kind): the first pattern that matches decides."""


def commands_of(document: Path) -> list[str]:
    """Return the commands in the ```sh and ```bash blocks of a document, without comments, continued lines joined."""
    blocks = re.findall(r"^```(?:sh|bash)\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def all_commands() -> dict[str, list[str]]:
    """Return every command once, with the names of the documents that contain it."""
    commands: dict[str, list[str]] = {}
    for document in DOCUMENTS:
        for command in commands_of(document):
            commands.setdefault(command, []).append(str(document.relative_to(ROOT)))
    return commands


def kind_of(command: str) -> str:
    """Return how a command is tested; an empty string if there is no test for it."""
    return next((kind for pattern, kind in KINDS if re.fullmatch(pattern, command)), "")


def commands(kind: str) -> list[str]:
    """Return the commands of a kind."""
    return [command for command in all_commands() if kind_of(command) == kind]
