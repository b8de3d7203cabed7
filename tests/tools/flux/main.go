// Evaluates the healthCheckExprs of a Flux Kustomization with the library of the kustomize-controller. Reads
// {"healthCheckExprs": [...], "objects": [...]} as JSON from stdin and prints the status of each object as one line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func main() {
	log.SetFlags(0)
	var input struct {
		HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		Objects          []json.RawMessage             `json:"objects"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		log.Fatalf("stdin: %v", err)
	}
	evaluators := map[[2]string]*cel.StatusEvaluator{}
	for _, check := range input.HealthCheckExprs {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			log.Fatalf("%s %s: %v", check.APIVersion, check.Kind, err)
		}
		evaluators[[2]string{check.APIVersion, check.Kind}] = evaluator
	}
	for _, raw := range input.Objects {
		// encoding/json would read generations as floats, which the library ignores.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			log.Fatalf("stdin: %v", err)
		}
		evaluator := evaluators[[2]string{object.GetAPIVersion(), object.GetKind()}]
		if evaluator == nil {
			log.Fatalf("no expression for %s %s", object.GetAPIVersion(), object.GetKind())
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			log.Fatalf("%s/%s: %v", object.GetNamespace(), object.GetName(), err)
		}
		fmt.Println(result.Status)
	}
}
