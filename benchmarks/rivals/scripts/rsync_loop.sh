#!/bin/sh
# The work by rsync in a loop, all hosts at once: rsync makes the folder and copies, one command verifies and switches, both over one
# connection. Its arguments: a file of hosts, one "address port" a line; the model; the folder of the release; the command; a folder for
# sockets; and ssh's options, the first of which is -l USER.
set -eu
hosts=$1 model=$2 folder=$3 command=$4 sockets=$5
shift 5
one() {
	address=$1 port=$2
	shift 2
	shared="-o ControlMaster=auto -o ControlPersist=10 -o ControlPath=$sockets/%C"
	# shellcheck disable=SC2086
	ssh $shared "$@" -p "$port" -f -N "$address" </dev/null
	# shellcheck disable=SC2086
	rsync -W -e "ssh $shared $* -p $port" --rsync-path="mkdir -p $folder && rsync" "$model" "$address:$folder/model.tmp" </dev/null
	# shellcheck disable=SC2086
	ssh $shared "$@" -p "$port" "$address" "$command" </dev/null
	# shellcheck disable=SC2086
	ssh $shared "$@" -p "$port" -O exit "$address" 2>/dev/null </dev/null
}
pids=
while read -r address port; do
	one "$address" "$port" "$@" &
	pids="$pids $!"
done <"$hosts"
for pid in $pids; do wait "$pid"; done
