{{/* Every template includes this at the start. */}}
{{- define "live-message-operator.init" -}}
{{- $defaults := .Files.Get "files/values.yaml" | fromYaml -}}
{{- include "live-message-operator.restoreDefaults" (dict "values" .Values "defaults" $defaults) -}}
{{- include "live-message-operator.checkValues" . -}}
{{- end -}}

{{/*
A key that is empty in the user's values is null, and Helm removes it. This restores the default of each key that
values.yaml lists. Inside the maps that Kubernetes defines, null removes a key, for example resources.limits: null.
*/}}
{{- define "live-message-operator.restoreDefaults" -}}
{{- $kubernetes := list "podSecurityContext" "securityContext" "resources" "nodeSelector" "rollingUpdate" -}}
{{- $kubernetes = concat $kubernetes (list "startupProbe" "livenessProbe" "readinessProbe") -}}
{{- range $key, $default := .defaults -}}
{{- $value := index $.values $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $.values $key $default -}}
{{- else if and (kindIs "map" $default) (not (has $key $kubernetes)) -}}
{{- include "live-message-operator.restoreDefaults" (dict "values" $value "defaults" $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "live-message-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/*
The name of the resources. It is also the name of Services, so it must contain no dot and start with a letter. The name
of a release can violate both rules.
*/}}
{{- define "live-message-operator.fullname" -}}
{{- $name := include "live-message-operator.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $full := ternary $release (printf "%s-%s" $release $name) (contains $name $release) -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "%s-%s" $name $release -}}
{{- end -}}
{{- regexReplaceAll "-+$" (default $full .Values.fullnameOverride | trunc 53) "" -}}
{{- end -}}

{{- define "live-message-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Labels of the immutable selector of the Deployment. */}}
{{- define "live-message-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "live-message-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of every object except the pods: a new chart version must not restart the pods. */}}
{{- define "live-message-operator.labels" -}}
{{- $labels := include "live-message-operator.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $_ := set $labels "helm.sh/chart" $chart -}}
{{- merge $labels .Values.commonLabels | toYaml -}}
{{- end -}}

{{/*
The metadata of an object. Arguments: root, name; namespace ("-" for an object without one); labels and annotations, which
take precedence over those of every object.
*/}}
{{- define "live-message-operator.metadata" -}}
{{- $labels := include "live-message-operator.labels" .root | fromYaml -}}
{{- $namespace := default (include "live-message-operator.namespace" .root) .namespace -}}
name: {{ .name | quote }}
{{- if ne $namespace "-" }}
namespace: {{ $namespace | quote }}
{{- end }}
labels:
  {{- merge (deepCopy (default dict .labels)) $labels | toYaml | nindent 2 }}
{{- with merge (deepCopy (default dict .annotations)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "live-message-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "live-message-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "live-message-operator.image" -}}
{{- with .Values.image.registry -}}{{- trimSuffix "/" . -}}/{{- end -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest -}}
@{{- .Values.image.digest -}}
{{- else -}}
:{{- default .Chart.AppVersion .Values.image.tag -}}
{{- end -}}
{{- end -}}
