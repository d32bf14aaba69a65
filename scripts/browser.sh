#!/bin/sh
# browser.sh: install Chromium where there is none and this user may; the report's tests look at pages in it. Exit code 3: it cannot be had here.
set -eu
cd "$(dirname "$0")/.."

# shellcheck source=scripts/system-packages.sh
. "./scripts/system-packages.sh"

command -v chromium >/dev/null 2>&1 && exit 0
command -v apt-get >/dev/null 2>&1 && may_install || exit 3
apt_install chromium || exit 3
