#!/bin/sh
# A Chromium for the browser tests: the machine's, else Debian's, else Playwright's own.
set -eu
command -v chromium > /dev/null || command -v chromium-browser > /dev/null || command -v google-chrome > /dev/null && exit 0
[ -e "$1/.chromium" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing Chromium (once)"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium > /dev/null
else
    echo "fetching Playwright's Chromium (once)"
    "$1/bin/playwright" install chromium
fi
touch "$1/.chromium"
