#!/bin/sh
# Makes the root of the image for shells: a small Debian with what generated commands take for granted.
#   build.sh ROOT WORK
# ROOT is made; WORK is a folder for what is fetched on the way. Needs root, and Debian's apt with a mirror that answers.
set -eu
root=$1 work=$2
. /etc/os-release
suite=${VERSION_CODENAME:?this is no Debian: /etc/os-release names no release}

# debootstrap is a script: unpacked here, it is as good as installed.
if ! command -v debootstrap >/dev/null; then
    echo "fetching debootstrap" >&2
    (cd "$work" && { apt-get -qq download debootstrap || { apt-get -qq update && apt-get -qq download debootstrap; }; }) >&2
    dpkg-deb -x "$work"/debootstrap_*.deb "$work/tools"
    export DEBOOTSTRAP_DIR="$work/tools/usr/share/debootstrap"
    export PATH="$work/tools/usr/sbin:$PATH"
fi

# The machine's own mirror of its release.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    while read -r uri name; do if [ "$name" = "$suite" ]; then echo "$uri"; break; fi; done)
: "${mirror:?apt knows no mirror of $suite: apt-get update}"

packages=bash,bc,bzip2,ca-certificates,curl,diffutils,file,findutils,gawk,git,gzip,jq,less,patch,procps,python3,python3-venv,sed,tar,unzip,xz-utils,zip
debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" |
    awk '/Retrieving/ && ++got % 25 == 0 { print got " packages fetched"; fflush() }
         /Extracting/ && !out++ { print "unpacking the first of them"; fflush() }
         /Configuring/ && ++done % 25 == 0 { print done " packages set up"; fflush() }' >&2
[ -x "$root/usr/bin/python3" ] || { tail -n 5 "$root/debootstrap/debootstrap.log" >&2; exit 1; }

# What nobody looks at in a session, and what would make two builds differ.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* "$root"/usr/share/man/* \
    "$root"/usr/share/locale/* "$root"/debootstrap "$root"/dev/* "$root"/tmp/* "$root"/etc/resolv.conf "$root"/etc/hostname
mkdir -p "$root/mnt/data"
