{{- define "vaeiso.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "vaeiso.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "vaeiso.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "vaeiso.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vaeiso.selector" -}}
app.kubernetes.io/name: {{ include "vaeiso.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vaeiso.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "vaeiso.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "vaeiso.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- $target := ternary "cuda" "cpu" .Values.gpu.enabled -}}
{{- printf "%s:%s" .Values.image.repository (default (printf "%s-%s" .Chart.AppVersion $target) .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "vaeiso.tokens" -}}
{{- default (printf "%s-tokens" (include "vaeiso.fullname" .)) .Values.tokens.existingSecret -}}
{{- end -}}

{{- define "vaeiso.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "vaeiso.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "vaeiso.scheme" -}}
{{- ternary "https" "http" (ne .Values.tls.existingSecret "") -}}
{{- end -}}

{{/* Whether there may ever be more than one replica. */}}
{{- define "vaeiso.several" -}}
{{- if or (gt (int .Values.replicas) 1) (and .Values.keda.enabled (gt (int .Values.keda.maxReplicas) 1)) -}}yes{{- end -}}
{{- end -}}

{{/* Every way to contradict oneself, in a sentence. */}}
{{- define "vaeiso.check" -}}
{{- if not .Values.config -}}
{{- fail "config is empty: give the daemon's config with --set-file config=config.toml (vaeiso-monitor init writes one)" -}}
{{- end -}}
{{- $config := fromToml .Values.config -}}
{{- if $config.Error -}}
{{- fail (printf "config is not valid TOML: %s" $config.Error) -}}
{{- end -}}
{{- range $section := list "source" "schema" -}}
{{- if not (hasKey $config $section) -}}
{{- fail (printf "config has no [%s]: try it with vaeiso-monitor check config.toml" $section) -}}
{{- end -}}
{{- end -}}
{{- if and (include "vaeiso.several" .) (not .Values.sharedStore.enabled) -}}
{{- fail "more than one replica needs sharedStore.enabled=true: else each of them trains and serves a model of its own" -}}
{{- end -}}
{{- if and (include "vaeiso.several" .) (ne $config.source.type "kafka") -}}
{{- fail "more than one replica needs a source of type kafka: each of them would read all of the files" -}}
{{- end -}}
{{- if and .Values.keda.enabled (ne $config.source.type "kafka") -}}
{{- fail "keda.enabled needs a source of type kafka: there is no consumer lag without a group" -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (not .Values.prometheusRule.rules) -}}
{{- fail "prometheusRule.rules is empty: vaeiso-monitor rules config.toml > rules.yaml, then --set-file prometheusRule.rules=rules.yaml" -}}
{{- end -}}
{{- end -}}
