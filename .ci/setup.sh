#!/bin/sh
# Builds .venv and installs the package in it, editable:  sh .ci/setup.sh [EXTRA]
# make calls it from the top of the checkout. It finds a Python that runs and is new enough, or lets uv fetch one.
# The stamps that make looks at (.venv/.core, .venv/.EXTRA) are written last, and hold the checkout's path.
set -u
trap 'exit 130' INT TERM # also where the interrupted installer exits as if nothing were amiss

extra=${1:-}
stamp=.venv/.${extra:-core}
oldest=3.12
fetched=3.13 # what uv is asked for where no Python is found

# Is .venv whole, and made for this place? A copied or moved one would still run the code where it was made.
in_place() { [ -x .venv/bin/python ] && [ "$(cat .venv/.core 2>/dev/null)" = "$(pwd -P)" ]; }

say() { printf '%s\n' "$*"; }
die() { say "$@" >&2; exit 1; }

find_uv() {
  for uv in uv "${HOME:-}/.local/bin/uv" "${HOME:-}/.cargo/bin/uv" .uv/bin/uv; do
    "$uv" --version >/dev/null 2>&1 && return
  done
  uv=
}

# Prints the real path of Python $1 as its last line, or fails and says in its first line why that one will not do.
# It is run, not only found: a version manager's shim can be on PATH and refuse to start anything.
probe() {
  "$1" -c '
import sys
oldest, have_uv = sys.argv[1:]
here = "Python %d.%d.%d" % tuple(sys.version_info[:3])
if sys.version_info[:2] < tuple(int(n) for n in oldest.split(".")):
    sys.exit(here + " is older than " + oldest)
if sys.implementation.name != "cpython" or sys.version_info.releaselevel != "final":
    sys.exit(here + " is not a release of CPython")
if not have_uv:
    try:
        import ensurepip, venv
    except ImportError:
        sys.exit(here + " cannot make a virtual environment: it lacks venv or ensurepip (Debian: python3-venv)")
print(sys.executable)' "$oldest" "$uv" 2>&1 </dev/null
}

python=
passed_over=
try() {
  [ -z "$python" ] || return 0
  if answer=$(probe "$1"); then
    python=$(say "$answer" | tail -n 1)
  else
    passed_over="$passed_over
  $1: $(say "$answer" | head -n 1)"
  fi
}

find_python() {
  [ -z "${PYTHON:-}" ] || try "$PYTHON"
  [ -z "${PYTHON:-}" ] || [ -n "$python" ] || say "Passing over PYTHON:$passed_over"
  set -f
  for name in python3.14 python3.13 python3.12 python3; do
    IFS=:
    for folder in $PATH; do
      [ ! -x "$folder/$name" ] || try "$folder/$name"
    done
    unset IFS
  done
  set +f
  pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions
  for name in $(ls "$pyenv" 2>/dev/null | grep '^3\.[0-9]*\.[0-9]*$' | sort -t . -k 2,2nr -k 3,3nr); do
    try "$pyenv/$name/bin/python"
  done
}

# No Python will do: uv can fetch one, and pip can fetch uv if there is at least an older Python.
fetch_python() {
  say "No Python >= $oldest that can be used was found.$passed_over"
  say "Asking uv for Python $fetched"
  if [ -z "$uv" ] && command -v python3 >/dev/null; then
    { python3 -m venv .uv && .uv/bin/python -m pip install --quiet uv; } && uv=.uv/bin/uv
  fi
  [ -n "$uv" ] && "$uv" venv --quiet --python "$fetched" .venv && return
  rm -rf .venv .uv
  die "
uv could not fetch one either. Install any Python from $oldest on, with its venv module, and run make again:
  Debian, Ubuntu   apt-get install python3 python3-venv    (from Debian 13 and Ubuntu 24.04 on it is new enough)
  Fedora           dnf install python$fetched
  macOS            brew install python@$fetched
  pyenv            pyenv install $fetched
Where one is installed already but not on PATH: make PYTHON=/path/to/python$fetched and what you wanted to make"
}

# pip knows only every detail or nothing at all: keep the large downloads and what is installed.
brief() {
  while IFS= read -r line; do
    case $line in *' MB)'* | Installing*) say "$line" ;; esac
  done
}

# Two makes in one checkout take turns (where the system has flock); the second often finds its work done.
if command -v flock >/dev/null; then
  exec 9<"$0"
  flock -n 9 || { say 'Waiting for another install in this checkout to end'; flock 9; }
  in_place && [ -n "$(find "$stamp" -newer pyproject.toml 2>/dev/null)" ] && exit
fi

find_uv
if ! in_place; then
  [ ! -e .venv ] || say '.venv is not whole, was made elsewhere, or has lost its Python: building it anew'
  rm -rf .venv
  find_python
  if [ -z "$python" ]; then
    fetch_python
  elif [ -n "$uv" ]; then
    say "Making .venv with $python and uv"
    "$uv" venv --quiet --python "$python" .venv || exit 1
  else
    say "Making .venv with $python"
    "$python" -m venv .venv || exit 1
  fi
fi

say "Installing numpyro_score${extra:+ with what its $extra extra needs} (a minute or two the first time)"
rm -f .venv/.core "$stamp" # without .core the whole .venv counts as broken
what=.${extra:+[$extra]}
with_uv() { [ -n "$uv" ] && "$uv" pip install --python .venv/bin/python -e "$what"; }
with_pip() {
  .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null || return
  rm -f .venv/.piped
  { .venv/bin/python -m pip install --disable-pip-version-check -e "$what" && : >.venv/.piped; } | brief
  [ -e .venv/.piped ] # a pipe's status is that of its last command
}
# pip may be set up for this network (its index, its certificates) where uv is not.
with_uv || { [ -n "$uv" ] && say 'uv could not install it: trying pip' >&2; with_pip; } ||
  die 'The install failed; what is above says why. make starts it again.'
pwd -P >.venv/.core
pwd -P >"$stamp"
