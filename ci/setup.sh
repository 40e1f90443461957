#!/bin/sh
# Sets up .venv from uv.lock:  ci/setup.sh [uv export options that choose what goes in]
#
# Needs a Python 3.11 or newer with pip or ensurepip, and a package index. uv is
# taken from PATH, or installed into .tools. The lock's hashes are checked, but
# not its addresses used, so that an index named by UV_DEFAULT_INDEX or
# PIP_INDEX_URL is the only one that is asked.
set -eu
cd "$(dirname "$0")/.."

uv_version=0.13.9

fail() {
    echo "setup: $*" >&2
    exit 1
}

# The first Python that this user can run and that is new enough. One that is on
# PATH but below somebody else's home fails here and the next one is tried.
find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 /usr/local/bin/python3 /usr/bin/python3; do
        if found=$("$candidate" -c 'import sys, sysconfig, os
if sys.version_info < (3, 11) or not os.access(sysconfig.get_path("stdlib"), os.R_OK): sys.exit(1)
print(sys.executable)' 2>/dev/null); then
            echo "$found"
            return
        fi
    done
    return 1
}

find_uv() {
    if uv --version >/dev/null 2>&1; then
        command -v uv
        return
    fi
    if ! .tools/bin/uv --version >/dev/null 2>&1; then
        rm -rf .tools
        "$1" -m pip install --quiet --target .tools "uv==$uv_version" >&2 2>/dev/null \
            || { rm -rf .tools && "$1" -m venv .tools && .tools/bin/pip install --quiet "uv==$uv_version" >&2; } \
            || return 1
    fi
    echo "$PWD/.tools/bin/uv"
}

python=$(find_python) || fail "no Python 3.11 or newer found: install one, or name it with PYTHON=/path/to/python3"
uv=$(find_uv "$python") || fail "uv could not be installed with $python: it needs pip or ensurepip (Debian: apt install python3-venv) and a package index"

export UV_PYTHON_DOWNLOADS=never
# A cache and a checkout on two file systems can't be hard-linked; uv would warn at every package.
export UV_LINK_MODE="${UV_LINK_MODE:-copy}"
if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then
    export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi

.venv/bin/python -c 'import sys' >/dev/null 2>&1 || "$uv" venv --quiet --clear --python "$python" .venv
mkdir -p .venv/setup
"$uv" export --quiet --frozen --no-emit-project "$@" --output-file .venv/setup/requirements.txt >/dev/null
export VIRTUAL_ENV="$PWD/.venv"
echo "setup: $(grep -c '==' .venv/setup/requirements.txt) packages into .venv; the first time this takes a minute or two" >&2
"$uv" pip install --quiet --no-deps --require-hashes --compile-bytecode --requirement .venv/setup/requirements.txt
"$uv" pip install --quiet --no-deps --editable .
