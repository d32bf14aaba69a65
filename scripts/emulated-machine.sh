#!/bin/sh
# emulated-machine.sh [FOLDER]: make, under FOLDER (.ota/machines/arm64), what a whole 64-bit ARM machine is started from in qemu-system-aarch64: Debian's
# kernel, an initramfs with its virtio drivers, an ext4 disk with Python, OpenSSH, cron and, for machines that are started with it, systemd, and the keys to sign in with. Made of Debian's packages, which are
# unpacked and not installed: nothing of it runs here before the machine does. `benchmarks/machines/machine.py` starts it.
# Exit code 3: it cannot be done on this machine, for the reason said; 1: it went wrong.
set -eu
cd "$(dirname "$0")/.."
LC_ALL=C
export LC_ALL

folder=${1:-.ota/machines/arm64}
NEEDED="qemu-system-arm qemu-utils mmdebstrap cpio e2fsprogs openssh-client"
PACKAGES=base-files,bash,dash,coreutils,procps,python3,openssh-server,cron,systemd,busybox-static,linux-image-cloud-arm64
MODULES="virtio_ring virtio virtio_mmio virtio_blk failover net_failover virtio_net virtio-rng"
DISK_MB=512

say() { printf '%s\n' "emulated machine: $*" >&2; }
fail() {
	say "error: $*"
	exit 1
}
impossible() {
	say "not possible here: $*"
	exit 3
}

has_programs() {
	for program in qemu-system-aarch64 qemu-img mmdebstrap cpio mke2fs ssh-keygen; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null 2>&1 || return 1
	done
}

check_machine() {
	[ "$(id -u)" = 0 ] || impossible "files of the disk must belong to root, and this user is not"
	has_programs && return
	command -v apt-get >/dev/null 2>&1 || impossible "qemu-system-aarch64 or mmdebstrap is missing, and so is apt-get"
	say "installing $NEEDED"
	{
		apt-get -qq update
		# shellcheck disable=SC2086  # a list of words
		DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends install $NEEDED
	} </dev/null >"$folder/said" 2>&1 || true
	has_programs || impossible "apt does not install $NEEDED: $(tail -n 1 "$folder/said")"
}

wanted_stamp() { cksum <scripts/emulated-machine.sh; }

unpack() {
	mmdebstrap --quiet --variant=extract --architectures=arm64 --include="$PACKAGES" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		bookworm "$root" </dev/null >"$folder/said" 2>&1 || {
		cat "$folder/said" >&2
		fail "the packages could not be unpacked; the reason is above"
	}
}

# What maintainer scripts would have made, no more than these programs ask for.
configure() {
	cat >"$root/etc/passwd" <<-ENTRIES
		root:x:0:0:root:/root:/bin/sh
		sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
		nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
	ENTRIES
	printf 'root:x:0:\ncrontab:x:101:\nnogroup:x:65534:\n' >"$root/etc/group"
	printf 'root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n' >"$root/etc/shadow"
	chmod 600 "$root/etc/shadow"
	printf 'emulated\n' >"$root/etc/hostname"
	printf '127.0.0.1 localhost emulated\n' >"$root/etc/hosts"
	cat >"$root/etc/inittab" <<-ENTRIES
		::sysinit:/etc/start
		::respawn:/usr/sbin/sshd -D -e
		::respawn:/usr/sbin/cron -f
	ENTRIES
	cat >"$root/etc/start" <<-SCRIPT
		#!/bin/sh
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mkdir -p /dev/pts /dev/shm
		mount -t devpts devpts /dev/pts
		mount -t tmpfs run /run
		mount -t tmpfs tmp /tmp
		mkdir -p /run/sshd
		hostname emulated
	SCRIPT
	chmod 755 "$root/etc/start"
	ln -sf /bin/busybox "$root/sbin/init"
	for applet in mount umount hostname poweroff; do
		[ -e "$root/bin/$applet" ] || ln -s /bin/busybox "$root/bin/$applet"
	done
	configure_systemd
	[ -e "$root/bin/sh" ] || ln -s dash "$root/bin/sh"
	for service in cron other; do
		printf '%s required pam_permit.so\n' auth account password session >"$root/etc/pam.d/$service"
	done
	mkdir -p "$root/root/.ssh" "$root/etc/ssh" "$root/var/spool/cron/crontabs"
	chmod 700 "$root/root" "$root/root/.ssh"
}

# Of its units, sshd alone is asked for; what it says goes to the console, where it is waited for.
configure_systemd() {
	units=$root/etc/systemd/system
	mkdir -p "$units/multi-user.target.wants" "$units/ssh.service.d"
	printf '0123456789abcdef0123456789abcdef\n' >"$root/etc/machine-id"
	ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
	ln -sf /lib/systemd/system/ssh.service "$units/multi-user.target.wants/ssh.service"
	cat >"$units/ssh.service.d/console.conf" <<-SETTINGS
		[Service]
		ExecStart=
		ExecStart=/usr/sbin/sshd -D -e
		StandardError=file:/dev/ttyAMA0
	SETTINGS
}

make_keys() {
	ssh-keygen -q -t ed25519 -N '' -C ota -f "$folder/key"
	ssh-keygen -q -t ed25519 -N '' -C machine -f "$root/etc/ssh/ssh_host_ed25519_key"
	cp "$folder/key.pub" "$root/root/.ssh/authorized_keys"
	chmod 600 "$root/root/.ssh/authorized_keys"
	cp "$root/etc/ssh/ssh_host_ed25519_key.pub" "$folder/host_key.pub"
	cat >"$root/etc/ssh/sshd_config" <<-SETTINGS
		HostKey /etc/ssh/ssh_host_ed25519_key
		PermitRootLogin prohibit-password
		PasswordAuthentication no
		UsePAM no
		UseDNS no
	SETTINGS
}

make_initramfs() {
	small=$folder/initramfs
	mkdir -p "$small/bin" "$small/dev" "$small/proc" "$small/new"
	cp "$root/bin/busybox" "$small/bin/busybox"
	{
		printf '#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n'
		for module in $MODULES; do
			file=$(find "$root/lib/modules" "$root/usr/lib/modules" -name "$module.ko" 2>/dev/null | head -n 1)
			[ -n "$file" ] || continue
			cp "$file" "$small/$module.ko"
			printf '/bin/busybox insmod /%s.ko\n' "$module"
		done
		cat <<-'SCRIPT'
			/bin/busybox ifconfig lo 127.0.0.1 up
			/bin/busybox ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
			until [ -b /dev/vda ]; do /bin/busybox usleep 50000; done
			/bin/busybox mount -t ext4 /dev/vda /new
			/bin/busybox mount -t devtmpfs dev /new/dev
			init=/sbin/init
			/bin/busybox mount -t proc proc /proc
			for word in $(/bin/busybox cat /proc/cmdline); do case $word in ota.init=*) init=${word#ota.init=} ;; esac; done
			/bin/busybox umount /proc
			exec /bin/busybox switch_root /new "$init"
		SCRIPT
	} >"$small/init"
	chmod 755 "$small/init"
	(cd "$small" && find . | cpio --quiet -o -H newc) | gzip -1 >"$folder/initrd.gz"
}

make_disk() {
	cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
	rm -rf "$root/boot" "$root/lib/modules" "$root/usr/lib/modules" "$root/var/cache" "$root/var/lib/apt"
	chown -R root:root "$root"
	PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -d "$root" "$folder/disk.img" "${DISK_MB}M"
}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ "$(cat "$folder/complete" 2>/dev/null)" = "$(wanted_stamp)" ]; then exit 0; fi
check_machine
root=$folder/root
for part in complete root initramfs initrd.gz vmlinuz disk.img key key.pub host_key.pub; do rm -rf "${folder:?}/$part"; done
say "unpacking Debian for 64-bit ARM"
unpack
configure
make_keys
make_initramfs
make_disk
rm -rf "$root" "$folder/initramfs" "$folder/said"
wanted_stamp >"$folder/complete"
say "made in $folder"
