#!/usr/bin/env bash
# Tests the Streamlit page: makes a venv (kept, by requirements), installs, runs pytest. Exit code 0: all passed.
# Needs python3 with venv, postgresql-15 and chromium. Usage: dashboards/streamlit/test.sh PATH_TO_MILLRACE_BINARY
set -euo pipefail

if [ $# -lt 1 ] || [ ! -x "$1" ]; then
  echo "usage: $0 PATH_TO_MILLRACE_BINARY [pytest options]   (build it: cargo build --release)" >&2
  exit 2
fi
MILLRACE_BINARY=$(realpath "$1")
export MILLRACE_BINARY
shift
cd "$(dirname "$0")"

python=${PYTHON:-python3}
key=$( (cat requirements.txt tests/requirements.txt; "$python" --version) | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace/streamlit
venv=$cache/$key
mkdir -p "$cache"
# Two runs at once make it once; one that was broken off is made again.
exec 9>"$cache/$key.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
  touch "$venv/complete"
fi
flock -u 9
exec 9>&-

export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" -m pytest -p no:cacheprovider -q --tb=short --show-capture=no -ra "$@" tests
