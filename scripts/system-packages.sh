# shellcheck shell=sh
# Read by set-up.sh. need_sshd installs OpenSSH's server where it is missing and this user may; the system's own SSH service is left off.

SBIN=/usr/sbin:/usr/local/sbin:/sbin:/opt/homebrew/sbin

has_openssh() {
	for program in sshd ssh ssh-keygen; do
		(PATH=$PATH:$SBIN && command -v "$program") >/dev/null 2>&1 || return 1
	done
}

may_install() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Faults are on stderr; what else they say is of no use here.
apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq update </dev/null >/dev/null
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq install -y --no-install-recommends "$@" </dev/null >/dev/null
}

# Debian starts and enables a service when its package arrives; nobody asked for an SSH service on the network.
apt_install_quietly() {
	policy=/usr/sbin/policy-rc.d
	ours=
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
		ours=yes
	fi
	status=0
	apt_install "$@" || status=$?
	[ -z "$ours" ] || as_root rm -f "$policy"
	if command -v systemctl >/dev/null 2>&1; then
		as_root systemctl --quiet disable ssh.service ssh.socket >/dev/null 2>&1 || true
	fi
	return "$status"
}

install_openssh() {
	if command -v apt-get >/dev/null 2>&1; then
		apt_install_quietly openssh-server openssh-client
	elif command -v dnf >/dev/null 2>&1; then
		as_root dnf -q -y install openssh-server openssh-clients </dev/null >/dev/null
	elif command -v apk >/dev/null 2>&1; then
		as_root apk add --quiet openssh </dev/null >/dev/null
	elif command -v pacman >/dev/null 2>&1; then
		as_root pacman -Sy --noconfirm --needed openssh </dev/null >/dev/null
	elif command -v zypper >/dev/null 2>&1; then
		as_root zypper --non-interactive --quiet install openssh </dev/null >/dev/null
	fi
}

need_sshd() {
	if has_openssh; then return; fi
	if may_install; then
		say "set-up: installing OpenSSH's server; the system's own SSH service stays off"
		install_openssh || true
	fi
	has_openssh || fail "OpenSSH's server is missing, and could not be installed from here (it takes root, or sudo without a password)" \
		"install it: 'apt-get install openssh-server' (Debian, Ubuntu, Raspberry Pi OS), 'dnf install openssh-server' (Fedora)," \
		"'apk add openssh' (Alpine), 'pacman -S openssh' (Arch); then run this again"
}
