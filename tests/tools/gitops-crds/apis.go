// Package apis names the Flux APIs whose CustomResourceDefinitions controller-gen generates, as Flux does.
package apis

import (
	_ "github.com/fluxcd/helm-controller/api/v2"
	_ "github.com/fluxcd/kustomize-controller/api/v1"
	_ "github.com/fluxcd/source-controller/api/v1"
)
