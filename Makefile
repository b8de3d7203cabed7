# Thin: every target is a few plain commands. KUBEBUILDER_ASSETS, LMO_CACHE_DIR: see tests/tools/build.

CARGO ?= cargo
CHART := charts/live-message-operator

.DEFAULT_GOAL := help
.PHONY: help demo test fmt lint unit sdk integration docs chart-lint counts crds assets helm bench

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# With another cluster there is no apiserver to build.
demo: ## Shows the operator at work, against a local emulator. KEEP=1: until Ctrl-C. DEMO_CONTEXT=...: in that cluster
	@tests/tools/preflight
	@$(if $(DEMO_CONTEXT),true,tests/tools/build control-plane >/dev/null)
	@tests/tools/build helm >/dev/null
	$(CARGO) build --locked --bin live-message-operator --example demo
	@KEEP='$(KEEP)' DEMO_CONTEXT='$(DEMO_CONTEXT)' $(CARGO) run --quiet --locked --example demo

# The quick checks first, cargo's summaries of the tests last.
test: ## Everything that is checked before a merge
	@tests/tools/preflight rustfmt clippy sdk
	@$(MAKE) --no-print-directory fmt lint docs
	@tests/tools/build control-plane >/dev/null
	@for family in controller-manager kstatus lua; do tests/tools/build $$family >/dev/null || exit 1; done
	@$(MAKE) --no-print-directory chart-lint
	@$(MAKE) --no-print-directory counts
	$(CARGO) test --locked

# How much of what is tested; the vectors and the steps of the SDKs are counted by the tests themselves.
counts:
	@$(CARGO) test --quiet --locked --no-run
	@list() { $(CARGO) test --quiet --locked "$$@" -- --list 2>/dev/null | grep -c ': test$$'; }; \
		echo "credential cases: $$(( $$(list --lib live::credentials) + $$(list --test emulator chain) ))"; \
		echo "fault cases: $$(( $$(list --lib live::client) + $$(list --lib emulator::fault) + $$(list --test emulator fault) \
			+ $$(list --test integration refusals) + $$(list --test throughput disruptions) ))"

fmt: ## Checks the format of the code (cargo fmt mends it)
	@tests/tools/preflight rustfmt
	$(CARGO) fmt --check

lint: ## Clippy; a warning is an error
	@tests/tools/preflight clippy
	$(CARGO) clippy --all-targets --locked -- -D warnings

unit: ## The tests that need no Go: the library's own, and the emulator over sockets
	$(CARGO) test --locked --lib --bins --test emulator --test vectors --test architecture --test docs

sdk: ## The official SDKs against the emulator (Python 3.11, Node 20 with npm, Go); FILTER=name for some of them
	$(CARGO) test --locked --test sdk -- $(FILTER)

integration: ## The tests on a real apiserver; FILTER=name for some of them
	@tests/tools/build control-plane >/dev/null
	@for family in controller-manager helm kstatus lua; do tests/tools/build $$family >/dev/null || exit 1; done
	$(CARGO) test --locked --test integration --test throughput -- $(FILTER)

docs: ## The library's documentation; a broken link is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked

chart-lint: ## helm lint, with every values file of the chart
	@helm=$$(tests/tools/build helm) && for values in $(CHART)/ci/*.yaml; do \
		echo "helm lint --strict $(CHART) --values $$values"; \
		"$$helm/helm" lint --strict --quiet $(CHART) --values "$$values" || exit 1; \
	done

# Into a folder of its own first: a definition that is gone goes from crds/ too, and nothing does when the run fails.
crds: ## Writes crds/ and the chart's copy from the types in src/resources
	@rm -rf target/crds && mkdir -p target/crds crds $(CHART)/files/crds
	$(CARGO) run --quiet --locked -- crd --dir target/crds
	@rm -f crds/*.yaml $(CHART)/files/crds/*.yaml
	@cp target/crds/*.yaml crds/
	@cp target/crds/*.yaml $(CHART)/files/crds/

assets: ## Builds etcd, kube-apiserver and kubectl if need be; prints their folder (make -s assets)
	@tests/tools/build control-plane

helm: ## Builds helm if need be; prints its folder (make -s helm)
	@tests/tools/build helm

bench: ## What the operator takes of time and memory, on a real apiserver; about five minutes
	@tests/tools/build control-plane >/dev/null
	@tests/tools/build helm >/dev/null
	$(CARGO) bench --locked --bench adaptive
	$(CARGO) bench --locked --bench operator
