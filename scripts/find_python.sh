#!/usr/bin/env bash
# Print the path of a Python that can run Taxonflow, or one sentence on standard error and exit status 2.
#   find_python.sh          the first one on PATH; 3.11 is preferred because the container images run on it
#   find_python.sh NAME     the given one, a path or a name on PATH
#   find_python.sh --all    one of each version on PATH, as lines "3.12 path"
# Each candidate is executed: a shim of pyenv exists for versions that it does not run. Works with bash 3.2 (macOS).
set -u
probe="$(cd "$(dirname "$0")" && pwd)/probe_python.py"
uv_option=
command -v uv >/dev/null 2>&1 && uv_option=--uv
faults=
versions=

candidates() {
  local name
  case "${1:-}" in
    "" | --all) for name in python3.11 python3.12 python3.13 python3; do type -aP "$name"; done ;;
    */*) printf '%s\n' "$1" ;;
    *) type -aP "$1" ;;
  esac
}

while IFS= read -r candidate; do
  answer="$("$candidate" "$probe" $uv_option 2>/dev/null </dev/null)"
  status=$?
  if ((status == 0)) && [[ "${1:-}" == --all ]]; then
    version="${answer%.*}"
    [[ " $versions" == *" $version "* ]] || printf '%s %s\n' "$version" "$candidate"
    versions="$versions$version "
  elif ((status == 0)); then
    printf '%s\n' "$candidate"
    exit 0
  elif ((status == 1)) && [[ -n "$answer" ]]; then
    [[ "$faults" == *"$answer"* ]] || faults="$faults${faults:+; }$candidate is $answer"
  else
    [[ "${1:-}" != */* ]] || faults="$candidate does not run"
  fi
done < <(candidates "${1:-}")

[[ -z "$versions" ]] || exit 0
case "${1:-}" in
  "" | --all) subject="No suitable Python on PATH" ;;
  *) subject="PYTHON=$1 cannot be used" ;;
esac
case "$faults" in
  *without*) remedy="install the missing modules (Debian, Ubuntu: sudo apt install python3-venv)" ;;
  *)
    remedy="install one of them (Debian, Ubuntu: sudo apt install python3 python3-venv;"
    remedy="$remedy macOS: brew install python@3.13)"
    ;;
esac
echo "$subject (${faults:-not found}): expected Python 3.11, 3.12 or 3.13; $remedy, or set PYTHON=path." >&2
exit 2
