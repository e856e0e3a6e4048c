{{/* Labels that never change: the selector. */}}
{{- define "rdma.selector" -}}
app.kubernetes.io/name: rdma-device-plugin
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rdma.labels" -}}
{{ include "rdma.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* A name that has the chart's in it once. */}}
{{- define "rdma.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Name of the ConfigMap that is mounted; empty for none. */}}
{{- define "rdma.configMap" -}}
{{- if .Values.existingConfigMap.name -}}
{{ .Values.existingConfigMap.name }}
{{- else if .Values.config -}}
{{ include "rdma.name" . }}
{{- end -}}
{{- end }}

{{/* The file in it. A peer's ConfigMap has config.json. */}}
{{- define "rdma.configKey" -}}
{{- if .Values.existingConfigMap.name -}}{{ .Values.existingConfigMap.key }}{{- else -}}config.yaml{{- end -}}
{{- end }}

{{/* Deno's permission set with a way to the API server; empty where that is never spoken to. */}}
{{- define "rdma.api" -}}
{{- if .Values.dra.enabled -}}image-dra{{- else if or .Values.kubernetesEvents .Values.nodeLabels -}}image-api{{- end -}}
{{- end }}
