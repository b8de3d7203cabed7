// Reads an object or a List as JSON from stdin and prints the status of each object by kstatus, the library that Flux and
// Helm 4 use to wait, as one line: NAMESPACE/NAME STATUS MESSAGE.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	log.SetFlags(0)
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatalf("stdin: %v", err)
	}
	document := &unstructured.Unstructured{}
	// encoding/json would read generations as floats, which kstatus rejects.
	if err := document.UnmarshalJSON(input); err != nil {
		log.Fatalf("stdin: %v", err)
	}
	show := func(item runtime.Object) error {
		object := item.(*unstructured.Unstructured)
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", object.GetNamespace(), object.GetName(), err)
		}
		message := strings.Join(strings.Fields(result.Message), " ")
		_, err = fmt.Printf("%s/%s %s %s\n", object.GetNamespace(), object.GetName(), result.Status, message)
		return err
	}
	if document.IsList() {
		err = document.EachListItem(show)
	} else {
		err = show(document)
	}
	if err != nil {
		log.Fatal(err)
	}
}
