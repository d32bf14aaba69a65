#!/bin/sh
# emulated-boards.sh [FOLDER]: make, under FOLDER (.ota/emulated), programs FOLDER/boards/CORE/RUNTIME/python that run the true 64-bit ARM wheels
# of both runtimes as a Cortex-A53, A72 or A76, and one that runs the x86_64 wheels beside them. For what loads and what comes out, never for timing.
# Nothing is installed on this machine and root is not needed: packages are fetched with apt's own sources and unpacked here.
# Exit code 3: it cannot be done on this machine, for the reason said; 1: it went wrong.
set -eu
cd "$(dirname "$0")/.."
LC_ALL=C
export LC_ALL

folder=${1:-.ota/emulated}
python=$PWD/.venv/bin/python
PYTHON_PACKAGES="python3.11-minimal libpython3.11-stdlib libstdc++6"

say() { printf '%s\n' "emulated boards: $*" >&2; }
fail() {
	say "error: $*"
	exit 1
}
impossible() {
	say "not possible here: $*"
	exit 3
}

check_machine() {
	for program in apt-get dpkg-deb tar; do
		command -v "$program" >/dev/null 2>&1 || impossible "$program is missing (a Debian system has it)"
	done
	[ "$(uname -m)" = x86_64 ] || impossible "this machine is $(uname -m), not x86_64"
	"$python" -c 'import ota' 2>/dev/null || fail "no .venv with the package: run 'make set-up' first"
}

# What the folder was made from and for; the same words mean that it is still right.
wanted_stamp() {
	cat scripts/emulated-boards.sh scripts/emulated_boards/make_boards.py ota/core/runtime.py ota/wheels.py | cksum
	printf '%s\n' "$folder"
}

# Give apt a state of its own for one architecture: this machine's sources and settings, none of its files and none of its packages.
private_apt() {
	state=$folder/apt/$1
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
	: >"$state/status"
	cat >"$state/apt.conf" <<CONFIGURATION
#clear APT::Architectures;
APT::Architecture "$1";
APT::Architectures { "$1"; };
APT::Sandbox::User "$(id -un)";
APT::Install-Recommends "false";
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Dir::Cache::archives "$state/cache/archives";
CONFIGURATION
	APT_CONFIG=$state/apt.conf apt-get -qq update </dev/null >"$state/said" 2>&1 || true
}

# apt_install OPTION ARCHITECTURE PACKAGE...
apt_install() {
	option=$1
	state=$folder/apt/$2
	shift 2
	APT_CONFIG=$state/apt.conf apt-get -qq --yes "$option" install "$@" </dev/null 2>>"$state/said" >/dev/null
}

# download ARCHITECTURE PACKAGE... : the packages and all that they depend on, into that architecture's archives.
download() {
	apt_install --print-uris "$@" || {
		cat "$folder/apt/$1/said" >&2
		impossible "this machine's apt sources do not have what is wanted ($*); those of Debian 12 do"
	}
	apt_install --download-only "$@" || {
		cat "$folder/apt/$1/said" >&2
		fail "apt could not download what is wanted ($*)"
	}
}

# Debian's folders lie under /usr; packages of this release still name the old places.
make_root() {
	root=$folder/$1
	mkdir -p "$root/etc" "$root/tmp"
	for name in bin sbin lib lib64; do
		mkdir -p "$root/usr/$name"
		ln -s "usr/$name" "$root/$name"
	done
	: >"$root/etc/ld.so.cache"
	private_apt "$1"
	# shellcheck disable=SC2086  # a list of words
	download "$1" $PYTHON_PACKAGES
	for package in "$folder/apt/$1/cache/archives"/*.deb; do
		dpkg-deb --fsys-tarfile "$package" | tar -xf - -C "$root" --keep-directory-symlink --exclude './usr/share/*' --exclude ./var
	done
}

take_qemu() {
	rm -f "$folder/apt/amd64/cache/archives"/*.deb
	download amd64 qemu-user-static
	mkdir -p "$folder/qemu"
	dpkg-deb --fsys-tarfile "$folder/apt/amd64/cache/archives"/qemu-user-static_*.deb |
		tar -xf - -C "$folder/qemu" --strip-components=3 ./usr/bin/qemu-aarch64-static
	"$folder/qemu/qemu-aarch64-static" --version >/dev/null || fail "the emulator does not start"
}

check_machine
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ "$(cat "$folder/complete" 2>/dev/null)" = "$(wanted_stamp)" ]; then exit 0; fi
for part in complete apt wheels qemu arm64 amd64 boards cores runtimes; do rm -rf "${folder:?}/$part"; done
say "fetching Python 3.11 for 64-bit ARM and x86_64, and the emulator"
make_root arm64
make_root amd64
take_qemu
say "fetching the runtimes' wheels"
"$python" scripts/emulated_boards/make_boards.py "$folder" || fail "the boards could not be made; the reason is above"
rm -rf "$folder/apt" "$folder/wheels"
wanted_stamp >"$folder/complete"
say "made in $folder"
