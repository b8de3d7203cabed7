{{/* The name of the resources. Quote it where it is used: "123" is a valid name. */}}
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

{{/* Labels of the immutable selector of the Deployment. */}}
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

{{/* Permissions for LiveMessageGroups, including their deletion. */}}
{{- define "live-message-operator.groupRules" -}}
- apiGroups: [live.alibabacloud.com]
  resources: [livemessagegroups]
  # patch changes only the finalizer, never spec, labels or annotations.
  verbs: [get, list, watch, patch]
- apiGroups: [live.alibabacloud.com]
  resources: [livemessagegroups/status]
  verbs: [patch]
# Whether a namespace is being deleted, for --finalizer-timeout.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end -}}

{{/* All permissions of the operator. A request fails without each of them. */}}
{{- define "live-message-operator.rules" -}}
{{ include "live-message-operator.groupRules" . }}
- apiGroups: [live.alibabacloud.com]
  resources: [liveaccounts]
  verbs: [get, list, watch]
- apiGroups: [live.alibabacloud.com]
  resources: [liveaccounts/status]
  verbs: [patch]
{{- if ne .Values.rbac.secrets "none" }}
# The Secrets that LiveAccounts reference, by name.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- if ne .Values.rbac.serviceAccountTokens "none" }}
# Tokens of the ServiceAccounts that LiveAccounts reference.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
