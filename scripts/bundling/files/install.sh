#!/bin/sh
# Installs Sealwright from this folder, without network: sh install.sh /opt/sealwright
# Every wheel is checked by pip against wheels/requirements.txt; one changed byte, and nothing is installed.
if [ $# -ne 1 ]; then
    echo "usage: sh install.sh FOLDER      makes FOLDER with Sealwright in it" >&2
    exit 2
fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P) || exit 2
if [ -e "$1" ]; then
    echo "install.sh: $1 is already there; name a folder that is not." >&2
    exit 2
fi
for python in python3 python3.14 python3.13 python3.12 python3.11 ''; do
    command -v "$python" >/dev/null 2>&1 || continue
    "$python" -I -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
done
if [ -z "$python" ]; then
    echo "install.sh: Python 3.11 or newer with venv is needed (Debian: python3 and python3-venv). portable/ needs no venv." >&2
    exit 2
fi
if "$python" -I -m venv -- "$1" &&
    "$1/bin/python" -I -m pip --isolated install -q --disable-pip-version-check --no-input --no-cache-dir --no-index \
        --only-binary :all: --find-links "$here/wheels" --require-hashes -r "$here/wheels/requirements.txt" &&
    "$1/bin/sealwright" --version; then
    echo "installed: $1/bin/sealwright"
    exit 0
fi
rm -rf -- "$1"
echo "install.sh: nothing was installed. If a hash does not match, the medium is damaged or altered: see HOW-TO-CHECK.txt." >&2
exit 1
