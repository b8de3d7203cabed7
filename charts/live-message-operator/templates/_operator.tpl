{{/* The address of the Live API. Empty for the default address. */}}
{{- define "live-message-operator.endpoint" -}}
{{- if .Values.emulator.enabled -}}
{{- printf "http://%s.%s.svc:8787" (include "live-message-operator.emulatorName" .) (include "live-message-operator.namespace" .) -}}
{{- else -}}
{{- .Values.alibabaCloud.endpoint -}}
{{- end -}}
{{- end -}}

{{/* The arguments that the chart sets. */}}
{{- define "live-message-operator.args" -}}
{{- $cloud := .Values.alibabaCloud -}}
- run
{{- with $cloud.accountId }}
- {{ printf "--account-id=%s" . | quote }}
{{- end }}
{{- with include "live-message-operator.endpoint" . }}
- {{ printf "--endpoint=%s" . | quote }}
{{- end }}
{{- if or $cloud.allowHttp .Values.emulator.enabled }}
- --allow-http
{{- end }}
{{- range $cloud.namespaces }}
- {{ printf "--operator-credentials-namespaces=%s" . | quote }}
{{- end }}
{{- range .Values.liveAccounts.endpoints }}
- {{ printf "--account-endpoints=%s" . | quote }}
{{- end }}
{{- if .Values.liveAccounts.allowHttp }}
- --account-allow-http
{{- end }}
- --connect-timeout={{ $cloud.connectTimeout }}
- --request-timeout={{ $cloud.requestTimeout }}
{{- if $cloud.caBundle.configMap }}
- --ca-bundle=/etc/live-message-operator/ca/{{ $cloud.caBundle.key }}
{{- end }}
- --requests-per-second={{ .Values.requestsPerSecond }}
- --drift-check-interval={{ .Values.driftCheckInterval }}
- --unreachable-finalizer-timeout={{ .Values.unreachableFinalizerTimeout }}
{{- range .Values.watchNamespaces }}
- {{ printf "--watch-namespace=%s" . | quote }}
{{- end }}
{{- /* Always set: even with one replica, two pods can run at the same time, during an update or if a node fails. */}}
- --leader-elect
- {{ printf "--leader-elect-resource-name=%s" (include "live-message-operator.fullname" .) | quote }}
- {{ printf "--leader-elect-resource-namespace=%s" (include "live-message-operator.namespace" .) | quote }}
- --leader-elect-lease-duration={{ .Values.leaderElection.leaseDuration }}
- --leader-elect-renew-deadline={{ .Values.leaderElection.renewDeadline }}
- --leader-elect-retry-period={{ .Values.leaderElection.retryPeriod }}
- --log-format={{ .Values.logging.format }}
- --health-bind-address=0.0.0.0:8081
{{- with .Values.metrics.maxNamespaces }}
- --metric-namespaces={{ . | int }}
{{- end }}
{{- end -}}

{{/* The directory of the RRSA token. */}}
{{- define "live-message-operator.tokens" -}}
/var/run/secrets/ack.alibabacloud.com/rrsa-tokens
{{- end -}}

{{/* The environment variables that the chart sets. */}}
{{- define "live-message-operator.chartEnv" -}}
{{- $cloud := .Values.alibabaCloud -}}
{{- $emulator := include "live-message-operator.emulatorName" . -}}
{{- /* The identity of the pod in the Lease. */ -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: RUST_LOG
  value: {{ .Values.logging.level | quote }}
{{- with ternary $emulator $cloud.existingSecret .Values.emulator.enabled }}
- name: ALIBABA_CLOUD_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: accessKeyId
- name: ALIBABA_CLOUD_ACCESS_KEY_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: accessKeySecret
- name: ALIBABA_CLOUD_SECURITY_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: securityToken
      optional: true
{{- end }}
{{- if $cloud.credentialsFile.secret }}
- name: ALIBABA_CLOUD_CREDENTIALS_FILE
  value: {{ printf "/etc/live-message-operator/credentials/%s" $cloud.credentialsFile.key | quote }}
{{- end }}
{{- if $cloud.rrsa.roleArn }}
- name: ALIBABA_CLOUD_ROLE_ARN
  value: {{ $cloud.rrsa.roleArn | quote }}
- name: ALIBABA_CLOUD_OIDC_PROVIDER_ARN
  value: {{ $cloud.rrsa.oidcProviderArn | quote }}
- name: ALIBABA_CLOUD_OIDC_TOKEN_FILE
  value: {{ include "live-message-operator.tokens" . }}/token
{{- end }}
{{- end -}}

{{/* All environment variables. extraEnv replaces a variable of the chart, because a name may appear only once. */}}
{{- define "live-message-operator.env" -}}
{{- $extra := dict -}}
{{- range .Values.extraEnv -}}{{- $_ := set $extra .name true -}}{{- end -}}
{{- $env := list -}}
{{- range include "live-message-operator.chartEnv" . | fromYamlArray -}}
{{- if not (hasKey $extra .name) -}}{{- $env = append $env . -}}{{- end -}}
{{- end -}}
{{- concat $env .Values.extraEnv | toYaml -}}
{{- end -}}

{{- define "live-message-operator.volumeMounts" -}}
{{- $cloud := .Values.alibabaCloud -}}
{{- if $cloud.credentialsFile.secret }}
{{- /* Mounts the whole directory, because the kubelet does not update a single file that is mounted with subPath. */}}
- name: credentials-file
  mountPath: /etc/live-message-operator/credentials
  readOnly: true
{{- end }}
{{- if $cloud.rrsa.roleArn }}
- name: rrsa-tokens
  mountPath: {{ include "live-message-operator.tokens" . }}
  readOnly: true
{{- end }}
{{- if $cloud.caBundle.configMap }}
- name: ca-bundle
  mountPath: /etc/live-message-operator/ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "live-message-operator.volumes" -}}
{{- $cloud := .Values.alibabaCloud -}}
{{- if $cloud.credentialsFile.secret }}
- name: credentials-file
  secret:
    secretName: {{ $cloud.credentialsFile.secret | quote }}
    items:
      - key: {{ $cloud.credentialsFile.key | quote }}
        path: {{ $cloud.credentialsFile.key | quote }}
{{- end }}
{{- if $cloud.rrsa.roleArn }}
- name: rrsa-tokens
  projected:
    sources:
      - serviceAccountToken:
          audience: sts.aliyuncs.com
          expirationSeconds: {{ int $cloud.rrsa.tokenExpirationSeconds }}
          path: token
{{- end }}
{{- if $cloud.caBundle.configMap }}
- name: ca-bundle
  configMap:
    name: {{ $cloud.caBundle.configMap | quote }}
    items:
      - key: {{ $cloud.caBundle.key | quote }}
        path: {{ $cloud.caBundle.key | quote }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A constraint without a labelSelector counts the pods of the operator. */}}
{{- define "live-message-operator.topologySpreadConstraints" -}}
{{- range .Values.topologySpreadConstraints }}
{{- $constraint := deepCopy . }}
{{- if not (hasKey $constraint "labelSelector") }}
{{- $labels := include "live-message-operator.selectorLabels" $ | fromYaml }}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" $labels) }}
{{- /* Without this key, the pods of the previous revision would count during an update. */}}
{{- $_ := set $constraint "matchLabelKeys" (list "pod-template-hash") }}
{{- end }}
- {{ toYaml $constraint | nindent 2 | trim }}
{{- end }}
{{- end -}}
