# The commands of the project. `make demo` and `make test` need a Rust toolchain and
# Debian or Ubuntu; they install all other missing packages.

BUILD_PACKAGES := gcc pkg-config libpcap-dev
DEMO_PACKAGES  := $(BUILD_PACKAGES) iproute2 nmap
TEST_PACKAGES  := $(DEMO_PACKAGES) g++ tshark tcpdump nftables iptables hping3 masscan \
    zmap tcpreplay ethtool dnsmasq-base udhcpc iputils-ping procps python3 man-db \
    groff zsh fish systemd logrotate
# These packages enable services, which start with the next boot of this machine, so they
# are installed only where every test must run. Elsewhere, the tests of missing services
# are skipped. Tests start services in namespaces, with their own configuration.
ifeq ($(PORTSENTRY_REQUIRE_PRIVILEGED),1)
TEST_PACKAGES  += fail2ban rsyslog nginx vsftpd curl
endif

CARGO ?= cargo
PREFIX ?= /usr/local
# Absolute, so that a script may change its folder.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
RELEASE := $(TARGET)/release
BINARY ?= $(RELEASE)/portsentry
PACKAGE ?= $(shell ls -t $(TARGET)/debian/portsentry_*.deb | head -n 1)
# Tools that scripts/tools installs.
TOOLS := $(TARGET)/tools
CARGO_WITH_TOOLS := PATH="$(TOOLS)/bin:$$PATH" $(CARGO)
# Members of the workspace that no registry gets.
UNPUBLISHED := portsentry-benches portsentry-examples portsentry-fuzz portsentry-testbed
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
TIME ?= 60

.PHONY: help build demo test lint lint-code lint-layout lint-workflows check-language doc generate install deb \
    rpm package test-package test-boot test-clocks test-embedding test-recipe features deny advisories \
    fuzz fuzz-replay fuzz-baseline bench bench-compare bench-curves bench-live bench-flood \
    bench-latency bench-instructions bench-cache bench-check bench-baseline load-connect \
    load-flood mutants msrv msrv-debian test-growth tools check-portable

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the program: target/release/portsentry; FEATURES=rings adds features
	@scripts/require $(BUILD_PACKAGES)
	$(CARGO) build --release --bin portsentry $(FEATURES:%=--features %)

demo: ## scan a sentry with nmap, in separate network namespaces
	@scripts/require $(DEMO_PACKAGES)
	$(CARGO) build --release --bin portsentry
	scripts/demo $(RELEASE)/portsentry

test: ## run all tests; those in network namespaces need root
	@scripts/require $(TEST_PACKAGES)
	$(CARGO) test --workspace --no-fail-fast
	$(CARGO) test --package portsentry-capture --features rings --lib --test live -- \
	    rings source_hash
	$(CARGO) test --package portsentry-cli --features rings --lib --test it -- \
	    shards:: rings:: several_rings unused_rights

lint: lint-code lint-layout lint-workflows check-language ## all lints

lint-code: ## formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

lint-layout: ## length of files, module style, import circles
	@scripts/require git python3
	scripts/layout

lint-workflows: tools ## the workflows in .github: schema and security
	$(TOOLS)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(TOOLS)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(TOOLS)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms \
	    .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(TOOLS)/bin/zizmor --offline --quiet --strict-collection --persona pedantic .

check-portable: ## compile decoder and capture files for macOS and Windows
	scripts/check-portable

check-language: ## list words that the rules of CONTRIBUTING.md exclude, and print counts
	scripts/check-language

tools:
	@scripts/tools $(TOOLS)

features: tools ## clippy with every set of features of the crates
	$(CARGO_WITH_TOOLS) hack clippy --feature-powerset --workspace $(UNPUBLISHED:%=--exclude %) -- -D warnings

doc: ## build the documentation of the crates
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

# The outputs of `portsentry generate`, and their files.
GENERATED := \
    man:packaging/man/portsentry.8 \
    conf-man:packaging/man/portsentry.conf.5 \
    bash:packaging/completions/portsentry.bash \
    zsh:packaging/completions/_portsentry \
    fish:packaging/completions/portsentry.fish \
    config:packaging/portsentry.conf \
    reference:docs/configuration.md

generate: ## regenerate manual pages, completions, reference and sample configuration
	@scripts/require $(BUILD_PACKAGES)
	@set -e; mkdir -p $(TARGET); for pair in $(GENERATED); do \
	    $(CARGO) run --quiet --bin portsentry -- generate $${pair%%:*} > $(TARGET)/generated; \
	    cp $(TARGET)/generated $${pair#*:}; \
	done

install: ## install the result of `make build` under DESTDIR and PREFIX (default /usr/local)
	@scripts/install "$(BINARY)" "$(DESTDIR)" "$(PREFIX)"

package: deb ## build the crates as for a registry, and the Debian package
	$(CARGO) package --quiet --allow-dirty --no-verify --workspace $(UNPUBLISHED:%=--exclude %)

deb: build ## build the Debian package: target/debian/portsentry_*.deb
	@command -v cargo-deb >/dev/null || $(CARGO) install --locked cargo-deb
	@scripts/require dpkg-dev
	$(CARGO) deb --package portsentry-cli --no-build --no-separate-debug-symbols

rpm: build ## build the RPM: target/generate-rpm/portsentry-*.rpm
	@command -v cargo-generate-rpm >/dev/null || $(CARGO) install --locked cargo-generate-rpm
	$(CARGO) generate-rpm --package portsentry-cli --target-dir $(TARGET)

test-package: deb ## install, upgrade and purge the Debian package in a separate system
	@scripts/require debootstrap systemd-container lintian iputils-ping procps
	scripts/test-package $(PACKAGE)

test-boot: deb ## boot the package on a host whose network comes after the start
	@scripts/require debootstrap systemd-container dnsmasq-base iproute2 iputils-ping nmap procps python3
	scripts/test-boot $(PACKAGE)

test-clocks: ## change the clock of a virtual machine, and suspend it, under a running sentry
	@scripts/require $(DEMO_PACKAGES) user-mode-linux kmod hping3
	$(CARGO) build --release --bin portsentry
	scripts/test-clocks $(RELEASE)/portsentry

test-embedding: ## build and run a crate outside the workspace with the packaged crates
	@scripts/require $(BUILD_PACKAGES)
	scripts/test-embedding

test-recipe: ## follow the recipe for a key in CONTRIBUTING.md
	@scripts/require $(BUILD_PACKAGES)
	scripts/test-recipe

msrv: ## build each crate with the oldest compiler of its manifest; rustup installs it
	@scripts/require $(BUILD_PACKAGES) python3
	scripts/msrv rustup

msrv-debian: ## build each crate that supports it with the compiler of Debian 13
	@scripts/require debootstrap git python3
	scripts/msrv debian

test-growth: ## compile and run one trial crate with these crates and with grown copies
	@scripts/require $(BUILD_PACKAGES) git
	scripts/test-growth

deny: tools ## check licences, bans and sources of all dependencies
	$(CARGO_WITH_TOOLS) deny --log-level error check licenses bans sources

advisories: tools ## check dependencies for security advisories; downloads the database of RustSec
	$(CARGO_WITH_TOOLS) deny check advisories

fuzz-replay: ## run every fuzz target over its corpus; fail if it covers less than the baseline
	@scripts/require g++
	scripts/fuzz-replay --check $(FUZZ_TARGETS)

fuzz-baseline: ## store the coverage of the corpora: fuzz/coverage.baseline
	@scripts/require g++
	scripts/fuzz-replay --renew $(FUZZ_TARGETS)

fuzz: ## fuzz every target for TIME seconds each (default 60)
	@scripts/require g++
	scripts/fuzz $(TIME) $(FUZZ_TARGETS)

LIVE_PACKAGES := $(BUILD_PACKAGES) iproute2 nftables ethtool

bench: sender ## measure the table of docs/performance.md; as root, all of it
	@scripts/require $(LIVE_PACKAGES) python3 valgrind
	@scripts/bench $(RELEASE)

.PHONY: sender
sender:
	@scripts/require $(BUILD_PACKAGES)
	$(CARGO) build --quiet --release --bin portsentry $(FEATURES:%=--features %)
	$(CARGO) build --quiet --profile bench --package portsentry-benches --bin sender

bench-compare: ## compare the times of this tree with those of the commit REV, in turns
	@scripts/require $(BUILD_PACKAGES) git
	scripts/bench-compare "$(REV)" $(ROWS)

bench-curves: ## measure how costs grow, and draw docs/cost-curves.svg
	$(CARGO) bench --package portsentry-benches --bench curves -- $(CURDIR)/docs/cost-curves.svg

load-connect: ## test connect mode under the load of a large machine, and print figures
	@scripts/require $(TEST_PACKAGES)
	PORTSENTRY_LOAD=full $(CARGO) test --package portsentry-cli --test it connect_load -- --nocapture --test-threads=1

load-flood: ## send ten million SYNs from forged sources while a scanner probes
	@scripts/require $(TEST_PACKAGES)
	PORTSENTRY_LOAD=full $(CARGO) test --release --package portsentry-cli --test it flood:: -- --nocapture --test-threads=1

mutants: ## send ten million mutated frames through decoder and engine
	PORTSENTRY_MUTANTS=10000000 $(CARGO) test --release --package portsentry-benches --test mutants -- --nocapture

bench-live: sender ## measure the program under floods of probes, in network namespaces
	@scripts/require $(LIVE_PACKAGES)
	scripts/bench-live $(RELEASE)/portsentry $(RELEASE)/sender $(RATES)

bench-flood: sender ## the same at the highest rate of one core, with 1 % of the ports monitored
	@scripts/require $(LIVE_PACKAGES)
	PORTS=1-655 scripts/bench-live $(RELEASE)/portsentry $(RELEASE)/sender most

bench-latency: ## measure the time from a probe to its block in nftables, in network namespaces
	@scripts/require $(BUILD_PACKAGES) iproute2 nftables python3
	$(CARGO) build --release --bin portsentry
	scripts/bench-latency $(RELEASE)/portsentry

bench-instructions: ## count instructions per packet under callgrind
	@scripts/require $(BUILD_PACKAGES) valgrind
	scripts/count-instructions

bench-cache: ## count cache misses per packet under callgrind; takes a quarter of an hour
	@scripts/require $(BUILD_PACKAGES) valgrind
	scripts/count-misses "$(ROWS)"

bench-check: ## fail if a packet costs 5 % more instructions than the baseline
	@scripts/require $(BUILD_PACKAGES) valgrind
	scripts/count-instructions --check

bench-baseline: ## record new counts of instructions in benches/instructions.baseline
	@scripts/require $(BUILD_PACKAGES) valgrind
	scripts/count-instructions --renew
