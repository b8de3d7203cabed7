{{- define "live-message-operator.emulatorName" -}}
{{- printf "%s-emulator" (include "live-message-operator.fullname" .) -}}
{{- end -}}

{{/* A separate name, so that the operator's selectors do not match the emulator pod. */}}
{{- define "live-message-operator.emulatorSelectorLabels" -}}
app.kubernetes.io/name: {{ printf "%s-emulator" (include "live-message-operator.name" .) | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "live-message-operator.emulatorArgs" -}}
- emulate
- --listen=0.0.0.0:8787
{{- /* The admin interface has no authentication. `kubectl port-forward` can reach it on loopback. */}}
- --admin-listen=127.0.0.1:8788
- --access-key=$(ACCESS_KEY_ID):$(ACCESS_KEY_SECRET)
{{- range .Values.emulator.accessKeys }}
- {{ printf "--access-key=%s" . | quote }}
{{- end }}
{{- range .Values.emulator.apps }}
- {{ printf "--app=%s" . | quote }}
{{- end }}
{{- range .Values.emulator.groups }}
- {{ printf "--group=%s" . | quote }}
{{- end }}
{{- end -}}
