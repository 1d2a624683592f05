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
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing test peers:$missing"
  apt-get -qq update
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing >/dev/null
else
  echo "not installed, so their tests skip (Debian packages):$missing"
fi
