package main

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// Reflection finds methods by name but not functions, so the SDK's constructors must be listed.
var constructors = map[string]func() requests.AcsRequest{
	"CreateLiveMessageApp":           func() requests.AcsRequest { return live.CreateCreateLiveMessageAppRequest() },
	"CreateLiveMessageGroup":         func() requests.AcsRequest { return live.CreateCreateLiveMessageGroupRequest() },
	"DeleteLiveMessageGroup":         func() requests.AcsRequest { return live.CreateDeleteLiveMessageGroupRequest() },
	"DescribeLiveMessageApp":         func() requests.AcsRequest { return live.CreateDescribeLiveMessageAppRequest() },
	"DescribeLiveMessageGroup":       func() requests.AcsRequest { return live.CreateDescribeLiveMessageGroupRequest() },
	"ListLiveMessageApps":            func() requests.AcsRequest { return live.CreateListLiveMessageAppsRequest() },
	"ListLiveMessageGroupByPage":     func() requests.AcsRequest { return live.CreateListLiveMessageGroupByPageRequest() },
	"ListLiveMessageGroups":          func() requests.AcsRequest { return live.CreateListLiveMessageGroupsRequest() },
	"ListMessageGroup":               func() requests.AcsRequest { return live.CreateListMessageGroupRequest() },
	"ModifyLiveMessageAppAudit":      func() requests.AcsRequest { return live.CreateModifyLiveMessageAppAuditRequest() },
	"ModifyLiveMessageAppCallback":   func() requests.AcsRequest { return live.CreateModifyLiveMessageAppCallbackRequest() },
	"ModifyLiveMessageAppDisable":    func() requests.AcsRequest { return live.CreateModifyLiveMessageAppDisableRequest() },
	"ModifyLiveMessageGroup":         func() requests.AcsRequest { return live.CreateModifyLiveMessageGroupRequest() },
	"RecoverLiveMessageDeletedGroup": func() requests.AcsRequest { return live.CreateRecoverLiveMessageDeletedGroupRequest() },
}

func newClient(key key) (*live.Client, error) {
	if key.Token != "" {
		return live.NewClientWithStsToken("cn-shanghai", key.ID, key.Secret, key.Token)
	}
	return live.NewClientWithAccessKey("cn-shanghai", key.ID, key.Secret)
}

// call returns the response and the error of the SDK, or failure if the SDK cannot make the call.
func call(client *live.Client, url string, step step, params map[string]any) (response any, err, failure error) {
	construct, known := constructors[step.Operation]
	if !known {
		return nil, nil, fmt.Errorf("%s is not among the constructors in sdk.go", step.Operation)
	}
	request := construct()
	for name, value := range params {
		if failure = setParam(request, name, value); failure != nil {
			return nil, nil, failure
		}
	}
	request.SetDomain(strings.TrimPrefix(url, "http://"))
	request.SetScheme("http")
	request.SetConnectTimeout(5 * time.Second)
	request.SetReadTimeout(10 * time.Second)
	if step.TimeoutMs > 0 {
		request.SetReadTimeout(time.Duration(step.TimeoutMs) * time.Millisecond)
	}
	results := reflect.ValueOf(client).MethodByName(step.Operation).Call([]reflect.Value{reflect.ValueOf(request)})
	err, _ = results[1].Interface().(error)
	return results[0].Interface(), err, nil
}

// setParam sets the field of a request for a parameter, converted to the type of the field.
func setParam(request any, name string, value any) error {
	fields := reflect.ValueOf(request).Elem()
	for i := range fields.NumField() {
		if fields.Type().Field(i).Tag.Get("name") != name {
			continue
		}
		field := fields.Field(i)
		if list, isList := value.([]any); isList {
			texts := make([]string, len(list))
			for at, entry := range list {
				texts[at] = fmt.Sprint(entry)
			}
			field.Set(reflect.ValueOf(&texts))
		} else {
			field.SetString(text(value))
		}
		return nil
	}
	return fmt.Errorf("the SDK's request has no %s", name)
}

func text(value any) string {
	if number, isNumber := value.(float64); isNumber {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

// code returns the API's error code from an error of the SDK, or "".
func code(err error) string {
	var own *sdkerrors.ServerError
	if errors.As(err, &own) {
		return own.ErrorCode()
	}
	return ""
}

func checkError(expected apiError, err error) error {
	var own *sdkerrors.ServerError
	if !errors.As(err, &own) {
		return fmt.Errorf("%T: %v", err, err)
	}
	got := apiError{Code: own.ErrorCode(), Status: own.HttpStatus()}
	if after := http.Header(own.RespHeaders).Get("X-Acs-Retry-After"); after != "" {
		got.RetryAfterMs, _ = strconv.Atoi(after)
	}
	if got != expected {
		return fmt.Errorf("expected %+v, got %+v", expected, got)
	}
	// The SDK compares the string to sign in the message with its own. A difference shows a bug on one side.
	if got.Code == sdkerrors.SignatureDostNotMatchErrorCode && !strings.HasPrefix(own.Recommend(), "InvalidAccessKeySecret") {
		return fmt.Errorf("the SDK does not blame the secret: %s", own.Recommend())
	}
	return nil
}
