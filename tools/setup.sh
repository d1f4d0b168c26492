#!/usr/bin/env bash
# Prepares a clone for `make demo`, `make test` and the rest: system packages,
# the virtual environment .venv, the package itself in editable mode.
#
# Quick when nothing changed: a stamp in .venv holds a hash of everything that
# decides what is installed.  PYTHON=... chooses the interpreter, LME_NO_APT=1
# keeps the script away from the system's package manager.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=.venv
say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v "$PYTHON" >/dev/null 2>&1; then
    say "no '$PYTHON' found; install Python 3.10 or newer (Debian: apt-get install python3 python3-venv)"
    exit 1
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    say "Python 3.10 or newer is needed; '$PYTHON' is $("$PYTHON" -V 2>&1)"
    say "name another one: PYTHON=python3.11 make setup"
    exit 1
fi

suitesparse_header() {
    local prefix
    for prefix in "${SUITESPARSE_INCLUDE_DIR:-}" /usr/include/suitesparse \
        "${CONDA_PREFIX:-/usr}/include/suitesparse" /usr/local/include/suitesparse \
        /opt/homebrew/include/suitesparse /usr/include; do
        if [ -n "$prefix" ] && [ -f "$prefix/SuiteSparse_config.h" ] && [ -f "$prefix/cholmod.h" ]; then
            echo "$prefix/SuiteSparse_config.h"
            return
        fi
    done
}

has_compiler() { command -v gcc >/dev/null 2>&1 || command -v cc >/dev/null 2>&1; }
has_venv() { "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1; }
has_python_headers() {
    "$PYTHON" -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(os.path.join(s.get_path("include"), "Python.h")))'
}
has_openblas() {
    ldconfig -p 2>/dev/null | grep libopenblas >/dev/null || ls /usr/lib/*/openblas-*/libblas.so.3 >/dev/null 2>&1
}

stamp() {
    {
        cat setup.cfg pyproject.toml tools/setup.sh
        "$PYTHON" -c 'import sys; print(sys.version, sys.executable)'
        # A header that appears later (or changes) must lead to another try.
        header=$(suitesparse_header)
        if [ -n "$header" ]; then cat "$header"; else echo "no SuiteSparse"; fi
        pwd
    } | sha256sum | cut -d' ' -f1
}

if [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/.lme-stamp" 2>/dev/null)" = "$(stamp)" ]; then
    exit 0
fi

# --- system packages ---------------------------------------------------------
needed=()
[ -n "$(suitesparse_header)" ] || needed+=(libsuitesparse-dev)
# CHOLMOD calls the system BLAS, and Debian's default one is ten times slower.
has_openblas || needed+=(libopenblas0-pthread)
has_compiler || needed+=(gcc libc6-dev)
has_venv || needed+=(python3-venv)
has_python_headers || needed+=(python3-dev)

if [ ${#needed[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
    can_install=no
    if [ -z "${LME_NO_APT:-}" ] && command -v apt-get >/dev/null 2>&1; then
        if [ "$(id -u)" -eq 0 ] || sudo -n true >/dev/null 2>&1; then can_install=yes; fi
    fi
    if [ $can_install = yes ]; then
        say "installing system packages: ${needed[*]}"
        apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null >/dev/null; }
        install() { apt install -y --no-install-recommends "${needed[@]}"; }
        if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
            apt update || say "apt-get update failed; trying with the lists at hand"
        fi
        # Lists that are there may still be too old to name existing files.
        install || { apt update && install; } ||
            say "apt-get install ${needed[*]} failed; going on without"
    else
        say "missing system packages: ${needed[*]}"
        say "install them with: sudo apt-get install ${needed[*]}"
        say "(other systems: SuiteSparse with its headers, OpenBLAS, a C compiler, Python's headers)"
        say "going on without: the same answers, but large sparse models are slower"
    fi
fi
if ! has_venv; then
    say "Python's venv module is missing: sudo apt-get install python3-venv"
    exit 1
fi

# --- virtual environment -----------------------------------------------------
wanted=$("$PYTHON" -c 'import sys; print(sys.version)')
if [ -x "$VENV/bin/python" ] && [ "$("$VENV/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null)" != "$wanted" ]; then
    say "$VENV belongs to another Python; making it anew"
    rm -rf "$VENV"
fi
if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    say "creating $VENV with $("$PYTHON" -V)"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV"
fi

# pip's notices are shown only when it fails.
pip_install() {
    local log status=0
    log=$(mktemp)
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=0 \
        "$VENV/bin/python" -m pip install --quiet "$@" </dev/null >"$log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then tail -n 20 "$log" >&2; fi
    rm -f "$log"
    return $status
}

# scikit-sparse 0.5 needs SuiteSparse 7; 0.4.16 is the last release for 5 and 6.
header=$(suitesparse_header)
installed=no
if [ -n "$header" ] && has_compiler && has_python_headers; then
    version=$(sed -n 's/^#define *SUITESPARSE_MAIN_VERSION *\([0-9]*\).*/\1/p' "$header")
    if [ "${version:-5}" -lt 7 ]; then
        pin='scikit-sparse==0.4.16'
    else
        pin='scikit-sparse>=0.5'
    fi
    say "installing the package with SuiteSparse ${version:-unknown} ($pin), plots and tools"
    if SUITESPARSE_INCLUDE_DIR=$(dirname "$header") \
        pip_install -e '.[cholmod,plots,dev]' "$pin"; then
        installed=yes
    else
        say "WARNING: scikit-sparse could not be built; going on without the cholmod extra"
    fi
fi
if [ $installed = no ]; then
    say "installing the package with plots and tools, without the cholmod extra"
    pip_install -e '.[plots,dev]'
fi
stamp >"$VENV/.lme-stamp"
say "done"
