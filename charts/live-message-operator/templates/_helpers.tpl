{{/* The name of every object of the release. Names are quoted where they are used: "123" is a good one. */}}
{{- define "live-message-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the operator's pods; it can never change. */}}
{{- define "live-message-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "live-message-operator.labels" -}}
{{ include "live-message-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "live-message-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "live-message-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "live-message-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What an object's deletion needs. */}}
{{- define "live-message-operator.groupRules" -}}
- apiGroups: [live.alibabacloud.com]
  resources: [livemessagegroups]
  # patch: the finalizer of objects whose deletion deletes their group; never spec, labels or annotations.
  verbs: [get, list, watch, patch]
- apiGroups: [live.alibabacloud.com]
  resources: [livemessagegroups/status]
  verbs: [patch]
# Whether a namespace goes away: a deletion in it does not wait for credentials for ever.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end -}}

{{/* All that the operator may do. Each line is there because a call fails without it. */}}
{{- define "live-message-operator.rules" -}}
{{ include "live-message-operator.groupRules" . }}
- apiGroups: [live.alibabacloud.com]
  resources: [liveaccounts]
  verbs: [get, list, watch]
- apiGroups: [live.alibabacloud.com]
  resources: [liveaccounts/status]
  verbs: [patch]
{{- if ne .Values.rbac.secrets "none" }}
# The Secrets that LiveAccounts name, by their names: never listed, never watched.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- if .Values.rbac.serviceAccountTokens }}
# Tokens of the ServiceAccounts that LiveAccounts name.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
