# What a person types. `make demo` and `make test` need a Rust toolchain and
# Debian or Ubuntu; whatever else is missing, they install.

BUILD_PACKAGES := gcc pkg-config libpcap-dev
DEMO_PACKAGES  := $(BUILD_PACKAGES) iproute2 nmap
TEST_PACKAGES  := $(DEMO_PACKAGES) g++ tshark tcpdump nftables

CARGO ?= cargo
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
TIME ?= 60

.PHONY: help build demo test lint doc fuzz fuzz-replay bench bench-live bench-instructions

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the program: target/release/portsentry
	@scripts/require $(BUILD_PACKAGES)
	$(CARGO) build --release --bin portsentry

demo: ## scan a sentry with nmap, in network namespaces of its own
	@scripts/require $(DEMO_PACKAGES)
	$(CARGO) build --release --bin portsentry
	scripts/demo target/release/portsentry

test: ## run all tests; those in network namespaces need root
	@scripts/require $(TEST_PACKAGES)
	$(CARGO) test --workspace

lint: ## formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc: ## build the documentation of the crates
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

fuzz-replay: ## run every fuzz target over its corpus
	@scripts/require g++
	$(CARGO) build --package portsentry-fuzz
	@set -e; for target in $(FUZZ_TARGETS); do \
	    echo "replaying $$target"; \
	    target/debug/$$target fuzz/corpus/$$target/* > target/fuzz-$$target.log 2>&1 \
	        || { tail -n 40 target/fuzz-$$target.log; exit 1; }; \
	done

fuzz: ## fuzz every target for TIME seconds each (default 60)
	@scripts/require g++
	scripts/fuzz $(TIME) $(FUZZ_TARGETS)

bench: ## measure decoding and deciding, in nanoseconds per packet
	$(CARGO) bench --package portsentry-benches

bench-live: ## measure the program under floods of probes, in network namespaces
	@scripts/require $(BUILD_PACKAGES) iproute2 tcpreplay python3
	$(CARGO) build --release --bin portsentry
	scripts/bench-live target/release/portsentry

bench-instructions: ## count instructions per packet under callgrind
	@scripts/require valgrind
	scripts/count-instructions
