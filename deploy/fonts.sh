#!/bin/sh
# Fonts for invoices in Arabic, Hindi, Thai, Chinese and Japanese, into the folder $1: Debian's Noto, unpacked and not
# installed. Without them an invoice comes out in English, with a box for each sign that cannot be shown.
set -eu
wanted="fonts-noto-core fonts-noto-cjk"
[ -e "$1/.complete" ] && exit 0
if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
    echo "no apt-get here: put Noto's fonts (Naskh Arabic, Serif Devanagari, Serif Thai, Serif CJK) into $1"
    exit 0
fi
echo "fetching fonts for invoices (once)"
mkdir -p "$1"
work=$(mktemp -d "$1/.fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt fetches as a user of its own
cd "$work"
fetch() { apt-get download -qq $wanted > /dev/null 2>&1; }
if ! fetch && ! { [ "$(id -u)" = 0 ] && apt-get update -qq && fetch; }; then
    echo "the fonts cannot be had now; invoices in those scripts come out in English"
    exit 0
fi
for package in *.deb; do dpkg-deb -x "$package" .; done
for name in NotoNaskhArabic NotoSerifDevanagari NotoSerifThai NotoSerifCJK; do
    for weight in Regular Bold; do
        find usr -type f -name "$name-$weight.tt[fc]" -exec mv {} .. \;
    done
done
touch ../.complete
