# tests/tools/build documents KUBEBUILDER_ASSETS and LMO_CACHE_DIR.

CARGO ?= cargo
CHART := charts/live-message-operator
# The families of tools that the integration tests use.
TEST_TOOLS := control-plane controller-manager helm helm3 helm-docs kubeconform kubernetes-schemas kstatus lua promtool flux gitops-crds envtest

.DEFAULT_GOAL := help
.PHONY: help demo test fmt lint unit sdk integration docs deny chart chart-lint counts crds assets helm image e2e bench bench-large explore simulate chaos fuzz release

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Run the operator with a local emulator. KEEP=1 keeps it running until Ctrl-C. DEMO_CONTEXT=NAME uses the cluster of that context
	@tests/tools/preflight
	@assets=$$(CARGO='$(CARGO)' DEMO_CONTEXT='$(DEMO_CONTEXT)' tests/tools/demo) && KUBEBUILDER_ASSETS="$$assets" \
		KEEP='$(KEEP)' DEMO_CONTEXT='$(DEMO_CONTEXT)' $(CARGO) run --quiet --locked --example demo

# Quick checks run first. The tests run last, so that their summaries are at the end of the output. The image is
# compiled while the tests run, because the tests mostly wait. If the compilation fails, the end-to-end test compiles the
# image again and shows the error.
test: ## Run all checks that a merge requires
	@tests/tools/preflight rustfmt clippy sdk
	@$(MAKE) --no-print-directory fmt lint docs deny
	@for family in $(TEST_TOOLS); do tests/tools/build $$family >/dev/null || exit 1; done
	@$(MAKE) --no-print-directory chart-lint
	@$(MAKE) --no-print-directory counts
	@tests/e2e/run --beside $(CARGO) test --locked
	@tests/e2e/run --if-possible
	@tests/tools/deny summary

# Prints the number of test cases that cover credentials and the number that cover faults.
counts:
	@$(CARGO) test --quiet --locked --no-run
	@list() { $(CARGO) test --quiet --locked "$$@" -- --list 2>/dev/null | grep -c ': test$$'; }; \
		echo "credential cases: $$(( $$(list --lib live::credentials) + $$(list --test emulator chain) ))"; \
		echo "fault cases: $$(( $$(list --lib live::client) + $$(list --lib emulator::fault) + $$(list --test emulator fault) \
			+ $$(list --test integration refusals) + $$(list --test integration faults) ))"

fmt: ## Check the format of the code (cargo fmt corrects it)
	@tests/tools/preflight rustfmt
	$(CARGO) fmt --check

lint: ## Run clippy; a warning is an error
	@tests/tools/preflight clippy
	$(CARGO) clippy --all-targets --locked -- -D warnings

unit: ## Run the tests that need no Go: unit tests, and the emulator over sockets
	$(CARGO) test --locked --lib --bins --test emulator --test vectors --test architecture --test docs --test project

sdk: ## Run the official SDKs against the emulator (Python 3.11, Node 20 with npm, Java 17 with Maven, Go). FILTER=name selects tests
	$(CARGO) test --locked --test sdk -- $(FILTER)

integration: ## Run the tests on a real apiserver. FILTER=name selects tests
	@for family in $(TEST_TOOLS); do tests/tools/build $$family >/dev/null || exit 1; done
	$(CARGO) test --locked --test integration --test throughput -- $(FILTER)

docs: ## Build the documentation of the library; a broken link is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked

deny: ## Check the dependencies: licenses, duplicates, sources, known vulnerabilities
	@tests/tools/deny check

chart-lint: ## Run helm lint with each values file of the chart
	@helm=$$(tests/tools/build helm) && for values in $(CHART)/ci/*.yaml; do \
		echo "helm lint --strict $(CHART) --values $$values"; \
		"$$helm/helm" lint --strict --quiet $(CHART) --values "$$values" || exit 1; \
	done

# Generates the CRDs into a separate directory first, so that a failed run changes nothing. All old files are removed,
# including those of CRDs that no longer exist.
crds: ## Generate crds/ and the copy in the chart from the types in src/resources
	@rm -rf target/crds && mkdir -p target/crds crds $(CHART)/files/crds
	$(CARGO) run --quiet --locked -- crd --dir target/crds
	@rm -f crds/*.yaml $(CHART)/files/crds/*.yaml
	@cp target/crds/*.yaml crds/
	@cp target/crds/*.yaml $(CHART)/files/crds/

image: ## Build the image as an OCI archive, and its SBOM (Linux; no container engine). VERIFY=1: build it twice and compare
	@tests/tools/preflight
	@tools/image $(if $(VERIFY),--verify)

e2e: ## Run the image and the chart as pods on a real node (Debian 12 on x86-64, root)
	@tests/tools/preflight
	@tests/e2e/run

chart: ## Generate the chart's README.md and its copy of values.yaml
	@cp $(CHART)/values.yaml $(CHART)/files/values.yaml
	@$$(tests/tools/build helm-docs)/helm-docs --chart-search-root $(CHART) --sort-values-order file --log-level warning

assets: ## Build etcd, kube-apiserver and kubectl if needed, and print their directory (make -s assets)
	@tests/tools/build control-plane

helm: ## Build helm if needed, and print its directory (make -s helm)
	@tests/tools/build helm

explore: ## Explore the operator's decisions and steps in larger worlds (about three minutes)
	$(CARGO) test --locked --profile bench --lib explore:: -- --include-ignored

simulate: ## Simulate a day of calls with crashes, timeouts, takeovers and rotations, in virtual time. HOURS=number
	LMO_SIMULATED_HOURS=$(or $(HOURS),24) $(CARGO) test --locked --profile bench --lib never_exceed -- --nocapture

chaos: ## Kill, freeze and disconnect operators at random times (about half an hour). ROUNDS=number
	@for family in $(TEST_TOOLS); do tests/tools/build $$family >/dev/null || exit 1; done
	LMO_CHAOS_ROUNDS=$(or $(ROUNDS),100) LMO_TAKEOVERS=$(or $(TAKEOVERS),30) \
		$(CARGO) test --locked --test integration -- leaders --include-ignored --nocapture

fuzz: ## Run a million mutated inputs through each parser of untrusted input (about two minutes, plus the build). FUZZ_RUNS=number
	FUZZ_RUNS=$(or $(FUZZ_RUNS),1000000) $(CARGO) test --locked --profile fuzz --lib fuzz::

release: ## Build the files of a release and print the commands that publish it. VERSION=0.1.0
	@VERSION='$(VERSION)' tools/release

bench: ## Compare the performance of the operator with a plain Go operator (about 20 minutes). BENCH_SMOKE=1 only checks that the benchmark works
	@for family in control-plane helm yardstick; do tests/tools/build $$family >/dev/null || exit 1; done
	$(if $(BENCH_SMOKE),,$(CARGO) bench --locked --bench adaptive)
	BENCH_SMOKE='$(BENCH_SMOKE)' $(CARGO) bench --locked --bench operator

bench-large: ## Compare bursts of 5,000 objects, and measure the operator with 100,000 objects (about 40 minutes)
	@for family in control-plane helm yardstick; do tests/tools/build $$family >/dev/null || exit 1; done
	$(CARGO) bench --locked --bench operator -- large
