# The commands of this tree; `make` lists them. `.ci/run` runs the two that every change must pass.

CARGO ?= cargo
ARCH ?= $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
VERSION := $(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q;}' Cargo.toml)
IMAGE := dist/sidegate-$(VERSION)-$(ARCH).tar

.DEFAULT_GOAL := help
.PHONY: help bench brokers check cluster demo docs docs-sdks e2e image stores test

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## Form, lints, documentation and the rules of ARCHITECTURE.md
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/sdk/rust/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test brokers --test cluster --test e2e --test stores -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
	    $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --test tidy --test chart
	tests/cluster.sh chart

test: ## Everything: in process, other languages, real stores, brokers, kube-apiserver and node
	$(CARGO) test --locked
	tests/others.sh $(TARGET_DIR)/debug/sidegate
	tests/stores.sh $(TARGET_DIR)/debug/sidegate
	tests/brokers.sh $(TARGET_DIR)/debug/sidegate
	tests/cluster.sh api node

stores: ## The part of `make test` that needs servers of secret stores
	$(CARGO) build --locked
	tests/stores.sh $(TARGET_DIR)/debug/sidegate

brokers: ## The part of `make test` that needs message brokers
	$(CARGO) build --locked
	tests/brokers.sh $(TARGET_DIR)/debug/sidegate

cluster: ## The part of `make test` that needs a kube-apiserver
	tests/cluster.sh api

e2e: ## The part of `make test` on a real node; E2E_EXISTING=1: on the current cluster
	tests/cluster.sh node

demo: ## The main job on this machine, step by step, without a cluster
	$(CARGO) run --locked --quiet -- demo

docs: ## Write the generated pages of docs anew
	UPDATE_DOCS=1 $(CARGO) test --locked --lib --test chart

docs-sdks: ## Write docs/sdks.md anew, from a run of the SDKs
	$(CARGO) build --locked
	UPDATE_DOCS=1 tests/others.sh $(TARGET_DIR)/debug/sidegate

image: ## The container image, without docker: dist/sidegate-VERSION-ARCH.tar (ARCH=arm64 crosses)
	folder=$$(CARGO="$(CARGO)" image/build-static $(ARCH) --bin sidegate) && \
	    python3 image/pack.py --binary "$$folder/sidegate" --arch $(ARCH) \
	    --name sidegate:$(VERSION) --output $(IMAGE)

bench: image ## Rates, memory, start and sizes of the release build, beside bare servers
	folder=$$(CARGO="$(CARGO)" image/build-static $(ARCH) --example ratios) && \
	    brokers=$$(tests/brokers.sh --servers) && \
	    PATH="$$brokers/usr/bin:$$PATH" LD_LIBRARY_PATH="$$(echo "$$brokers"/usr/lib/*-linux-gnu)" \
	    "$$folder/examples/ratios" "$$folder/sidegate" $(IMAGE)
