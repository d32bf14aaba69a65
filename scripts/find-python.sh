# shellcheck shell=sh
# Read by set-up.sh. find_python prints a Python that suits and can make virtual environments with pip, or says what is wrong.

# 3.11 first: the older runtime, which the demo compares with, has wheels up to that.
SUITABLE="3.11 3.12 3.10 3.13"

is_suitable() {
	"$1" -I -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) or sys.maxsize < 2**32)' 2>/dev/null </dev/null
}

makes_environments() { "$1" -I -c 'import venv, ensurepip' 2>/dev/null </dev/null; }

# Newest preference first; a name that does not run, such as a shim for a version that is not there, is passed over.
candidates() {
	for version in $SUITABLE; do
		command -v "python$version" || true
	done
	command -v python3 || true
	for version in $SUITABLE; do
		for path in "/usr/bin/python$version" "/usr/local/bin/python$version" "/opt/homebrew/bin/python$version"; do
			if [ -x "$path" ]; then echo "$path"; fi
		done
		for path in "${HOME:-/}/.pyenv/versions/$version".*/bin/"python$version"; do
			if [ -x "$path" ]; then echo "$path"; fi
		done
	done
}

find_python() {
	if [ -n "${PYTHON:-}" ]; then
		asked=$(command -v "$PYTHON") || fail "PYTHON=$PYTHON cannot be run"
		is_suitable "$asked" ||
			fail "PYTHON=$PYTHON does not suit: expected a 64-bit Python 3.10 to 3.13, found $("$asked" --version 2>&1 | head -n 1)"
		makes_environments "$asked" || need_venv "$asked"
		echo "$asked"
		return
	fi
	without=
	for candidate in $(candidates); do
		is_suitable "$candidate" || continue
		if makes_environments "$candidate"; then
			echo "$candidate"
			return
		fi
		without=${without:-$candidate}
	done
	[ -n "$without" ] || fail "there is no suitable Python: expected a 64-bit Python 3.10 to 3.13, found $(command -v python3 >/dev/null && python3 --version 2>&1 || echo none)" \
		"install one (such as 'apt-get install python3 python3-venv'), or name it: make PYTHON=/path/to/python3.11 demo"
	need_venv "$without"
	echo "$without"
}

# Debian and Ubuntu part `venv` from Python.
need_venv() {
	name=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	if command -v apt-get >/dev/null 2>&1 && may_install; then
		say "set-up: $1 cannot make virtual environments; installing $name"
		apt_install "$name"
	fi
	makes_environments "$1" || fail "$1 cannot make virtual environments: its modules venv and ensurepip are missing" "install them: apt-get install $name"
}
