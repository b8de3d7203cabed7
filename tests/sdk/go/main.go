// Runs the conformance scenario through the Go product SDK, alibaba-cloud-sdk-go/services/live (signature V1).
//
// usage: sdk EMULATOR_URL ADMIN_URL SCENARIO
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

const module = "github.com/aliyun/alibaba-cloud-sdk-go"

type key struct{ ID, Secret, Token string }

type apiError struct {
	Code         string
	Status       int
	RetryAfterMs int
}

type step struct {
	Name, Operation, Key string
	Params               map[string]any
	Put                  map[string]json.RawMessage
	TimeoutMs            int
	OK                   map[string]any
	Error                *apiError
	Lost                 bool
	Save                 map[string]string
	AtLeastMs            int64
}

type scenario struct {
	Keys  map[string]key
	Steps []step
}

type runner struct {
	url, admin string
	clients    map[string]*live.Client
	saved      map[string]any
}

func main() {
	if len(os.Args) != 4 {
		fatal(fmt.Errorf("usage: sdk EMULATOR_URL ADMIN_URL SCENARIO"))
	}
	content, err := os.ReadFile(os.Args[3])
	fatal(err)
	var scenario scenario
	fatal(json.Unmarshal(content, &scenario))
	run := runner{os.Args[1], os.Args[2], map[string]*live.Client{}, map[string]any{}}
	for name, key := range scenario.Keys {
		run.clients[name], err = newClient(key)
		fatal(err)
	}
	failed := 0
	for _, step := range scenario.Steps {
		if err := run.step(step); err != nil {
			failed++
			fmt.Printf("FAIL %s: %s\n", step.Name, short(err.Error()))
		} else {
			fmt.Println("ok", step.Name)
		}
	}
	fmt.Printf("conformance %s %s: %d steps, %d failed\n", module, version(), len(scenario.Steps), failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func (run *runner) step(step step) error {
	for path, body := range step.Put {
		if err := put(run.admin+path, body); err != nil {
			return err
		}
	}
	key := step.Key
	if key == "" {
		key = "main"
	}
	params, _ := run.resolve(step.Params).(map[string]any)
	started := time.Now()
	response, err, failure := call(run.clients[key], run.url, step, params)
	took := time.Since(started).Milliseconds()
	if failure == nil {
		failure = run.check(step, response, err)
	}
	if failure == nil && took < step.AtLeastMs {
		failure = fmt.Errorf("the call took %d ms, less than %d ms", took, step.AtLeastMs)
	}
	return failure
}

func (run *runner) check(step step, response any, err error) error {
	switch {
	case step.Error != nil && err == nil:
		return fmt.Errorf("expected %+v, got a response", *step.Error)
	case step.Error != nil:
		return checkError(*step.Error, err)
	case step.Lost && code(err) != "":
		return fmt.Errorf("expected no response, got the error %s", code(err))
	case step.Lost && err != nil:
		return nil
	case err != nil:
		return fmt.Errorf("%T: %w", err, err)
	}
	// JSON gives every field of the typed response its name on the wire.
	content, err := json.Marshal(response)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(content, &fields); err != nil {
		return err
	}
	if step.Lost {
		return match("response.RequestId", nil, fields["RequestId"])
	}
	if err := match("response.RequestId", map[string]any{"$any": true}, fields["RequestId"]); err != nil {
		return err
	}
	if err := match("response", run.resolve(step.OK), fields); err != nil {
		return err
	}
	for name, field := range step.Save {
		run.saved[name] = fields[field]
	}
	return nil
}

// resolve replaces "$name" with the value that an earlier step saved.
func (run *runner) resolve(value any) any {
	switch value := value.(type) {
	case string:
		if saved, known := run.saved[strings.TrimPrefix(value, "$")]; known && strings.HasPrefix(value, "$") {
			return saved
		}
	case []any:
		list := make([]any, len(value))
		for at, entry := range value {
			list[at] = run.resolve(entry)
		}
		return list
	case map[string]any:
		fields := make(map[string]any, len(value))
		for name, entry := range value {
			fields[name] = run.resolve(entry)
		}
		return fields
	}
	return value
}

// match compares a value with its expectation; see README.md for the notation.
func match(path string, expected, got any) error {
	matches := false
	switch expected := expected.(type) {
	case nil:
		matches = isEmpty(got)
	case map[string]any:
		if _, any := expected["$any"]; any {
			matches = !isEmpty(got)
			break
		}
		list, isList := got.([]any)
		if count, counted := expected["$count"]; counted {
			matches = isList && float64(len(list)) == count
			break
		}
		fields, isObject := got.(map[string]any)
		for name, value := range expected {
			if err := match(path+"."+name, value, fields[name]); err != nil {
				return err
			}
		}
		matches = isObject
	case []any:
		list, isList := got.([]any)
		matches = isList && len(list) == len(expected)
		for at := 0; matches && at < len(list); at++ {
			if err := match(fmt.Sprintf("%s[%d]", path, at), expected[at], list[at]); err != nil {
				return err
			}
		}
	default:
		matches = reflect.DeepEqual(expected, got)
	}
	if !matches {
		return fmt.Errorf("%s: expected %s, got %s", path, short(fmt.Sprintf("%#v", expected)), short(fmt.Sprintf("%#v", got)))
	}
	return nil
}

func isEmpty(value any) bool {
	if value == nil {
		return true
	}
	kind := reflect.ValueOf(value)
	return kind.IsZero() || ((kind.Kind() == reflect.Slice || kind.Kind() == reflect.Map) && kind.Len() == 0)
}

func put(url string, body []byte) error {
	request, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT %s: %s", url, response.Status)
	}
	return nil
}

func version() string {
	if build, known := debug.ReadBuildInfo(); known {
		for _, dependency := range build.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "(unknown version)"
}

func short(text string) string {
	if len(text) > 400 {
		return strings.ToValidUTF8(text[:400], "") + "…"
	}
	return text
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
}
