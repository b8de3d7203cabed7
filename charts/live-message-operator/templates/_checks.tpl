{{/* Fails with a list of all errors in the values that the schema cannot detect. */}}
{{- define "live-message-operator.checkValues" -}}
{{- $problems := list -}}
{{- if not .Values.image.repository -}}
{{- $problems = append $problems "image.repository is empty. No image is published yet: build one as docs/configuration.md describes, push it to a registry that the cluster can reach, and set image.repository." -}}
{{- end -}}
{{- $problems = concat $problems (include "live-message-operator.credentialsProblems" . | fromYamlArray) -}}
{{- range $key := list "secrets" "serviceAccountTokens" -}}
{{- $mode := index $.Values.rbac $key -}}
{{- if and (eq $mode "namespaced") (not $.Values.watchNamespaces) -}}
{{- $problems = append $problems (printf "rbac.%s: namespaced requires watchNamespaces. The operator watches all namespaces: use none or cluster." $key) -}}
{{- else if and (eq $mode "cluster") $.Values.watchNamespaces -}}
{{- $problems = append $problems (printf "rbac.%s: cluster requires an empty watchNamespaces. Use none or namespaced." $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- $problems = append $problems "metrics.serviceMonitor and metrics.podMonitor are both enabled, and would scrape each pod twice. Disable one." -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.extraEnv -}}
{{- if has .name $names -}}
{{- $problems = append $problems (printf "extraEnv contains %s twice. Remove one." .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range $list := list (list "extraArgs" .Values.extraArgs "args") (list "emulator.extraArgs" .Values.emulator.extraArgs "emulatorArgs") -}}
{{- $rendered := include (printf "live-message-operator.%s" (last $list)) $ | fromYamlArray -}}
{{- $flags := list -}}
{{- range $rendered -}}{{- $flags = append $flags (splitList "=" . | first) -}}{{- end -}}
{{- range index $list 1 -}}
{{- $flag := splitList "=" . | first -}}
{{- if has $flag $flags -}}
{{- $problems = append $problems (printf "%s contains %s, which the chart sets. Use the corresponding chart value instead." (first $list) $flag) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "invalid values:\n- %s\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}

{{/* Errors in the source of the operator's credentials, as a list in YAML. */}}
{{- define "live-message-operator.credentialsProblems" -}}
{{- $cloud := .Values.alibabaCloud -}}
{{- $rrsa := $cloud.rrsa -}}
{{- $problems := list -}}
{{- if and (hasPrefix "http://" $cloud.endpoint) (not $cloud.allowHttp) -}}
{{- $problems = append $problems "alibabaCloud.endpoint is an http:// address, which requires alibabaCloud.allowHttp: true. Use it only with an emulator." -}}
{{- end -}}
{{- if ne (empty $rrsa.roleArn) (empty $rrsa.oidcProviderArn) -}}
{{- $problems = append $problems "Only one of alibabaCloud.rrsa.roleArn and alibabaCloud.rrsa.oidcProviderArn is set. Set both." -}}
{{- end -}}
{{- $sources := list -}}
{{- if and $cloud.existingSecret (not .Values.emulator.enabled) -}}{{- $sources = append $sources "alibabaCloud.existingSecret" -}}{{- end -}}
{{- if $cloud.credentialsFile.secret -}}{{- $sources = append $sources "alibabaCloud.credentialsFile.secret" -}}{{- end -}}
{{- if $rrsa.roleName -}}{{- $sources = append $sources "alibabaCloud.rrsa.roleName" -}}{{- end -}}
{{- if $rrsa.roleArn -}}{{- $sources = append $sources "alibabaCloud.rrsa.roleArn" -}}{{- end -}}
{{- if gt (len $sources) 1 -}}
{{- $problems = append $problems (printf "%s are mutually exclusive. Set only one source of credentials. alibabaCloud.existingSecret has a default: set it to \"\" to use another source." (join " and " $sources)) -}}
{{- end -}}
{{- if .Values.emulator.enabled -}}
{{- if $cloud.endpoint -}}{{- $sources = append $sources "alibabaCloud.endpoint" -}}{{- end -}}
{{- if $sources -}}
{{- $problems = append $problems (printf "emulator.enabled: true deploys a trial without an account and cannot be combined with %s. Disable the emulator, or remove the other values." (join " and " $sources)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
