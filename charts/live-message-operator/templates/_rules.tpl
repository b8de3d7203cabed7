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

{{/* All permissions of the operator. If any of them is missing, a request fails. */}}
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

{{/* The subject of the bindings. */}}
{{- define "live-message-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "live-message-operator.serviceAccountName" . | quote }}
  namespace: {{ include "live-message-operator.namespace" . | quote }}
{{- end -}}
