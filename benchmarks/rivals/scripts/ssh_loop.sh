#!/bin/sh
# The work by OpenSSH's client in a loop, all hosts at once: one login and one command a host. Its arguments: a file of hosts, one
# "address port" a line; the model; the command for the device; and ssh's options.
set -eu
hosts=$1 model=$2 command=$3
shift 3
pids=
while read -r address port; do
	ssh "$@" -p "$port" "$address" "$command" <"$model" &
	pids="$pids $!"
done <"$hosts"
for pid in $pids; do wait "$pid"; done
