#!/bin/sh
# set-up.sh run|dev [--no-sshd]: make .venv with the package and what it needs, and install OpenSSH's server where it is missing and may be.
# Nothing is done twice: the environment is made again only when pyproject.toml, the interpreter or the extras asked for changed.
set -eu
cd "$(dirname "$0")/.."

# shellcheck source=scripts/find-python.sh
. "./scripts/find-python.sh"
# shellcheck source=scripts/system-packages.sh
. "./scripts/system-packages.sh"

what=${1:?run or dev}
with_sshd=${2:-}

say() { printf '%s\n' "$*" >&2; }
fail() {
	say "error: $1"
	shift
	for line in "$@"; do say "  $line"; done
	exit 1
}

# What the environment was made from and for; the same words mean that it is still right.
wanted_stamp() { printf '%s %s\n' "$(cksum <pyproject.toml)" "$(.venv/bin/python -c 'import sys; print(sys.version)' | cksum)"; }

is_ready() {
	.venv/bin/python -c '' 2>/dev/null || return 1
	stamp=$(wanted_stamp)
	for kind in "$what" dev; do
		if [ "$(cat ".venv/ready-$kind" 2>/dev/null)" = "$stamp" ]; then return; fi
	done
	return 1
}

make_environment() {
	if [ -n "${PYTHON:-}" ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
		python=$(find_python) || exit 1
		say "set-up: making .venv with $python ($("$python" -c 'import platform; print(platform.python_version())'))"
		"$python" -m venv --clear .venv
	fi
	extras=
	[ "$what" = run ] || extras="[$what]"
	say "set-up: installing the package and what it needs into .venv (TensorFlow is large: some minutes the first time)"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --editable ".$extras" ||
		fail "pip could not install what the package needs" "its messages are above; is the package index reachable from here?"
	wanted_stamp >".venv/ready-$what"
}

# Another interpreter was asked for by name: the environment is made again.
if [ -n "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then
	asked=$(find_python) || exit 1
	same='import sys; print(sys.base_prefix, sys.version_info[:2])'
	if [ "$("$asked" -c "$same")" = "$(.venv/bin/python -c "$same" 2>/dev/null)" ]; then PYTHON=; fi
	[ -z "$PYTHON" ] || rm -f .venv/ready-*
fi
is_ready || make_environment
[ "$with_sshd" = --no-sshd ] || need_sshd
