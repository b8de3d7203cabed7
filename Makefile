.PHONY: crds

crds: ## Regenerate crds/ from the types (a unit test fails when it is stale)
	cargo run --quiet -- crd --dir crds
