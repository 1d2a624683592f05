#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Brings uv into the project when the machine has none, and says what else is missing to build it.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

apt_install() {
  # Only where it can work: as root on Debian or one of its children.
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  say "installing with apt-get: $*"
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@"; } >/dev/null
}

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  say "Python 3.11 or newer is needed; '$python' is not one. Name another with PYTHON=..."
  exit 1
}

command -v cc >/dev/null || command -v gcc >/dev/null || {
  say "A C compiler is needed: pyradiomics comes as source."
  exit 1
}

"$python" - <<'PY' || apt_install python3-dev || { say "The Python headers are missing (Debian: python3-dev)."; exit 1; }
import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists())
PY

if ! command -v uv >/dev/null && ! [ -x .uv/bin/uv ]; then
  say "bringing uv into .uv"
  "$python" -m venv .uv 2>/dev/null || {
    rm -rf .uv
    apt_install python3-venv && "$python" -m venv .uv
  } || { say "Neither uv nor the venv module is there (Debian: python3-venv)."; exit 1; }
  .uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.7'
fi
