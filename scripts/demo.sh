#!/bin/sh
# The main job on the embedded default, each command echoed; set-up.sh has run before.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
export PATH

run() {
	printf '\n$ %s\n' "$*"
	"$@"
}

run ota lab up
run ota provision
run ota select --inventory inventory.yaml
# A first release, so that there is one to go back to: the network without quantization.
run ota deploy --scheme float32
run ota deploy
run ota status
run ota rollback

cat <<'TEXT'

That was the main job on three virtual microcomputers, which still run. Try next, after `. .venv/bin/activate`:
  ota status                    what each device runs now
  ota history                   every selection and rollout so far
  ota select && ota deploy      the winner again: nothing is converted twice, and no model is sent that is there
  ssh -F none -i .ota/lab/id_ed25519 -o UserKnownHostsFile=.ota/lab/known_hosts -p 24801 127.0.0.1     onto a device
  ota lab down                  stop the devices; their disks stay
Your own boards: put them into inventory.yaml, your model into playbooks/site.yaml, then ota trust, ota ping, ota provision.
TEXT
