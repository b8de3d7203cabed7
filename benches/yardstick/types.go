package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Spec is the part of the spec that the yardstick uses.
type Spec struct {
	AppID          string   `json:"appId"`
	GroupID        string   `json:"groupId,omitempty"`
	GroupName      string   `json:"groupName,omitempty"`
	GroupInfo      string   `json:"groupInfo,omitempty"`
	Administrators []string `json:"administrators,omitempty"`
}

// Status is the part of the status that the yardstick writes.
type Status struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	GroupID            string             `json:"groupId,omitempty"`
}

// LiveMessageGroup is a group of an app.
type LiveMessageGroup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

// LiveMessageGroupList is a list of groups.
type LiveMessageGroupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []LiveMessageGroup `json:"items"`
}

// DeepCopyObject copies the object.
func (in *LiveMessageGroup) DeepCopyObject() runtime.Object {
	out := *in
	out.ObjectMeta = *in.ObjectMeta.DeepCopy()
	out.Spec.Administrators = append([]string(nil), in.Spec.Administrators...)
	out.Status.Conditions = append([]metav1.Condition(nil), in.Status.Conditions...)
	return &out
}

// DeepCopyObject copies the list.
func (in *LiveMessageGroupList) DeepCopyObject() runtime.Object {
	out := *in
	out.Items = make([]LiveMessageGroup, len(in.Items))
	for i := range in.Items {
		out.Items[i] = *in.Items[i].DeepCopyObject().(*LiveMessageGroup)
	}
	return &out
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	version := schema.GroupVersion{Group: "live.alibabacloud.com", Version: "v1alpha1"}
	scheme.AddKnownTypes(version, &LiveMessageGroup{}, &LiveMessageGroupList{})
	metav1.AddToGroupVersion(scheme, version)
	return scheme
}
