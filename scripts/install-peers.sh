#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The programs that tests talk to. As root on Debian they are installed; elsewhere their tests skip.
set -eu

missing=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "$1" ] || missing="$missing $2"; }
need storescu dcmtk
need Orthanc orthanc
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
need DicomSRValidator pixelmed-apps
need ojph_compress openjph-tools
need chromium chromium
need chromedriver chromium-driver
command -v node >/dev/null 2>&1 || missing="$missing nodejs npm"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"

if [ -z "$missing" ]; then
  :
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing test peers:$missing"
  apt-get -qq update
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing >/dev/null
else
  echo "not installed, so their tests skip (Debian packages):$missing"
fi

# Medplum's FHIR router and validator, and the OHIF viewer (a download of 50 MB), as their lock files have them.
for peer in medplum ohif; do
  folder="$(dirname "$0")/../tests/integration/$peer"
  if ! command -v npm >/dev/null 2>&1; then
    echo "npm is not installed, so the tests with $peer skip"
  elif [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
    npm ci --silent --no-audit --no-fund --ignore-scripts --omit=dev --prefix "$folder" ||
      echo "npm cannot install $peer: its tests skip"
  fi
done
