# `make demo` and `make test` do all the set-up themselves; `make help` lists the rest.
# PYTHON=/path/to/python3.x chooses the interpreter; without it a suitable one is found.

PYTHON ?=
CUTS ?= 300
KILLS ?= 300
DEVICES ?= 200
PROFILES ?= loopback,10M,1M
export PYTHON
BIN := .venv/bin

.PHONY: help demo test lint format proofs set-up emulated-boards clean
.PHONY: proof-selection-simulation proof-selection-real proof-load-prediction proof-replay proof-emulated-boards proof-schemes proof-crash-states proof-reader proof-syscalls
.PHONY: proof-power-cuts proof-write-log proof-fleet-schedules proof-fleet-faults proof-controller-kills proof-attacks proof-scale proof-fleet-speed
.PHONY: proof-delta proof-resume proof-dask proof-slow-link proof-cold-start
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -v '^proof-' Makefile | sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' | while IFS='|' read -r target text; do printf '%-14s %s\n' "$$target" "$$text"; done

demo: ## Set up, then provision, select, deploy and roll back on three virtual microcomputers
	@sh scripts/set-up.sh run
	@sh scripts/demo.sh

# A file's tests stay in one process, for the labs and networks that they share; more processes than four disturb each other's timing.
test: ## Set up, then run the whole test suite
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: ## Check style, format and types
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: ## Put the code into the project's form
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/ruff format .

# Each proof prints what it measured and ends with a line per figure, `name: figure (goal) ok` or `short`; exit code 0 or 1.
proofs: ## List the proofs, each a target of its own
	@sed -n 's/^\(proof-[a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '%-34s %s\n' "$$target" "$$text"; done

proof-selection-simulation: ## Simulated devices: the right winner, honest intervals, twins, accuracy limits, voided blocks
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.selection_simulation

proof-selection-real: ## OpenSSH devices, real runtimes, a real network: L, the runtime's part in it, what it costs
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.selection_real

proof-load-prediction: ## What is foretold to load against what loads, operator by version by runtime
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.load_prediction

proof-replay: ## A selection recomputed from its raw samples, bit for bit
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.replay

proof-crash-states: ## Power cut at every effect on files, and again inside recovery: no state is bad, planted faults are found
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.crash_states

proof-reader: ## An application reads on while the release is switched ten thousand times
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.reader

proof-syscalls: ## The agent killed, out of disk or failing at each of its system calls
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.syscalls

proof-power-cuts: ## Real power cuts (CUTS=300) of an emulated machine with ext4, in the middle of deployments and rollbacks
	@sh scripts/set-up.sh dev --no-sshd
	@sh scripts/emulated-machine.sh || [ $$? = 3 ]
	@$(BIN)/python -m benchmarks.proofs.power_cuts $(CUTS)

proof-write-log: ## A real ext4 rebuilt and mounted at every cut point of an activation, unflushed writes lost
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.write_log

proof-attacks: ## TUF's and Uptane's attacks on a device with a keyring, and every bit of a manifest and a signature turned
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.attacks

proof-fleet-schedules: ## 100,000 generated fault schedules over the rules of a rollout
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.fleet_schedules

proof-controller-kills: ## The controller killed (KILLS=300) at random instants of a rollout over OpenSSH devices, then taken up
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.controller_kills $(KILLS)

proof-fleet-faults: ## One rollout over 20 OpenSSH devices, six of them broken in ways of their own; then mended
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.fleet_faults

proof-scale: ## 10 to 10,000 simulated devices, and DEVICES=200 real OpenSSH daemons: what a host costs, and who holds up whom
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.scale $(DEVICES)

proof-fleet-speed: ## ota deploy beside Ansible, pyinfra, parallel-ssh, OpenSSH and rsync, on 20 OpenSSH devices over PROFILES=loopback,10M,1M
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.fleet_speed --profiles $(PROFILES)

proof-slow-link: ## A network over 1 Mbit/s and 300 ms, without loss and with 1 %: a first deployment, an update beside rsync -z, a rollback
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.slow_link

proof-cold-start: ## ota --help, ota deploy on an up-to-date host beside ssh host true, and who imports TensorFlow
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.cold_start

proof-dask: ## One rollout through Dask workers in two network namespaces, beside one controller over the same lines; workers killed in the middle
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.dask_sites

proof-emulated-boards: ## ARM wheels on emulated Cortex-A53, A72 and A76: loading, fast path, int8 numbers
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.emulated_boards

proof-schemes: ## Twelve files of one float32 network in seconds
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.schemes

proof-delta: ## Fine-tunings of a real network as differences, against block matching, xz, and bytes subtracted
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/python -m benchmarks.proofs.delta

proof-resume: ## A transfer over OpenSSH whose connection is cut a hundred times
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m benchmarks.proofs.resume

emulated-boards: ## Set up the emulated boards that tests run on, where qemu installs
	@sh scripts/emulated-boards.sh

set-up: ## Make the virtual environment in .venv with all development dependencies
	@sh scripts/set-up.sh dev

clean: ## Stop the lab; remove it, .venv and what tools left; the store in .ota stays
	@if [ -x $(BIN)/ota ] && [ -d .ota/lab ]; then $(BIN)/ota lab down >/dev/null; fi
	@rm -rf .venv .ota/lab .ota/emulated .ota/machines build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
