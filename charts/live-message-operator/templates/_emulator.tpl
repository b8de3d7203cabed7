{{/* A name of its own, so that no selector of the operator matches the pod of the emulator. */}}
{{- define "live-message-operator.emulatorSelectorLabels" -}}
app.kubernetes.io/name: {{ printf "%s-emulator" (default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-") | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "live-message-operator.emulatorLabels" -}}
{{ merge (include "live-message-operator.emulatorSelectorLabels" . | fromYaml) (include "live-message-operator.labels" . | fromYaml) | toYaml }}
{{- end -}}

{{/* The address of the Live API. Empty for the public one. */}}
{{- define "live-message-operator.endpoint" -}}
{{- if .Values.emulator.enabled -}}
{{- printf "http://%s-emulator.%s.svc:8787" (include "live-message-operator.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.alibabaCloud.endpoint -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the access key of the operator. Empty if another source of credentials is used. */}}
{{- define "live-message-operator.credentialsSecret" -}}
{{- if .Values.emulator.enabled -}}
{{- printf "%s-emulator" (include "live-message-operator.fullname" .) -}}
{{- else -}}
{{- .Values.alibabaCloud.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* A value that selects the real Live API or credentials for it must not be ignored silently. */}}
{{- define "live-message-operator.checkEmulator" -}}
{{- if .Values.emulator.enabled -}}
{{- $cloud := .Values.alibabaCloud -}}
{{- $set := dict "endpoint" $cloud.endpoint "credentialsFile.secret" $cloud.credentialsFile.secret -}}
{{- $_ := set $set "rrsa.roleName" $cloud.rrsa.roleName -}}
{{- $_ := set $set "rrsa.roleArn" $cloud.rrsa.roleArn -}}
{{- range $key, $value := $set -}}
{{- if $value -}}
{{- fail (printf "emulator.enabled: true is a trial without an account, but alibabaCloud.%s is set. Remove one of the two." $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
