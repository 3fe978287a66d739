#!/usr/bin/env bash
# Install the environment of a project folder, which is the working directory, into a virtual environment.
#   environment.sh check VENV [PYTHON]    print "stale" if VENV was installed and cannot be used any more
#   environment.sh install VENV [PYTHON]  make VENV if needed, and install requirements.lock and the project into it
# VENV/.ready holds the folder of the environment: its programs contain that path and do not work in a moved folder.
set -euo pipefail
command="$1" venv="$2" python="${3:-}"
scripts="$(cd "$(dirname "$0")" && pwd)"

identity() { # version and installation of a Python
  "$1" -c 'import os, sys; print(sys.version.split()[0], os.path.realpath(sys.base_prefix))' 2>/dev/null </dev/null
}

usable() { # the environment runs, in its own folder, the requested Python
  local installed requested
  [[ -f "$venv/.ready" && "$(cat "$venv/.ready")/bin" -ef "$venv/bin" ]] || return 1
  "$venv/bin/python" "$scripts/probe_python.py" --uv >/dev/null 2>&1 || return 1
  [[ -n "$python" ]] || return 0
  installed="$(identity "$venv/bin/python")" && requested="$(identity "$python")" && [[ "$installed" == "$requested" ]]
}

create() {
  rm -rf "$venv"
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$venv"
  else
    "$python" -m venv --without-pip "$venv"
  fi
}

install_uv() { # by pip or uv of the environment, else by those of the system
  local lock="$venv/uv.lock" options="--quiet --disable-pip-version-check --require-hashes"
  sed -n '/^uv==/,/[^\\]$/p' requirements.lock >"$lock"
  if "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    "$venv/bin/python" -m pip install $options -r "$lock"
  elif [[ -x "$venv/bin/uv" ]]; then
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$lock"
  elif "$python" -c 'import pip' 2>/dev/null; then
    "$python" -m pip --python "$venv/bin/python" install $options -r "$lock"
  else
    uv pip install --quiet --python "$venv/bin/python" --require-hashes -r "$lock"
  fi 2>&1 | { grep -v '^WARNING: Location' || true; }
}

install_packages() {
  local install=(pip install --quiet --python "$venv/bin/python")
  install_uv &&
    "$venv/bin/uv" "${install[@]}" --compile-bytecode --require-hashes -r requirements.lock &&
    "$venv/bin/uv" "${install[@]}" --no-deps --no-build-isolation -e .
}

failed() {
  local compiler=""
  if [[ "$(uname -sm)" == "Linux aarch64" ]]; then
    compiler=", install a compiler for psutil (sudo apt install gcc python3-dev)"
  fi
  echo "The packages could not be installed into $venv: correct the fault above$compiler, and call make again." >&2
  exit 2
}

if [[ "$command" == check ]]; then
  [[ ! -f "$venv/.ready" ]] || usable || echo stale
  exit 0
fi
if usable; then
  python="$venv/bin/python"
else
  python="$(bash "$scripts/find_python.sh" "$python")" || exit 2
  if [[ -e "$venv" ]]; then echo "Removing $venv: it was not completed, was moved, or runs another Python"; fi
  echo "Installing into $venv with $("$python" -V) from $python (once, about a minute)"
  create || failed
fi
rm -f "$venv/.ready"
install_packages || failed
(cd "$venv" && pwd -P) >"$venv/.ready"
