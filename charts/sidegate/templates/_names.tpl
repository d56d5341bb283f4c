{{- define "sidegate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "sidegate.injector" -}}
{{ include "sidegate.fullname" . }}-injector
{{- end }}

{{- define "sidegate.advice" -}}
{{ include "sidegate.fullname" . }}-advice
{{- end }}

{{- define "sidegate.certificateSecret" -}}
{{- if eq .Values.certificate.mode "provided" -}}
{{ .Values.certificate.provided.secretName }}
{{- else if eq .Values.certificate.mode "certManager" -}}
{{- /* Not that of the mode self, which goes when the mode changes. */ -}}
{{ include "sidegate.injector" . }}-issued-certificate
{{- else -}}
{{ include "sidegate.injector" . }}-certificate
{{- end -}}
{{- end }}

{{- define "sidegate.serviceAccount" -}}
{{- $made := ternary (include "sidegate.injector" .) "default" .Values.serviceAccount.create -}}
{{ default $made .Values.serviceAccount.name }}
{{- end }}

{{/* Labels that select pods, which can never change: {root, component}. */}}
{{- define "sidegate.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object: {root, component}. */}}
{{- define "sidegate.labels" -}}
{{ include "sidegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: sidegate
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidegate.injectorLabels" -}}
{{ include "sidegate.labels" (dict "root" . "component" "injector") }}
{{- end }}

{{- define "sidegate.injectorSelectorLabels" -}}
{{ include "sidegate.selectorLabels" (dict "root" . "component" "injector") }}
{{- end }}

{{/* The name of an image: {image, tag}. */}}
{{- define "sidegate.imageName" -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end -}}
{{- end }}

{{- define "sidegate.image" -}}
{{ include "sidegate.imageName" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
{{- end }}

{{- define "sidegate.sidecarImage" -}}
{{- if .Values.sidecar.image.repository -}}
{{ include "sidegate.imageName" (dict "image" .Values.sidecar.image "tag" .Chart.AppVersion) }}
{{- else -}}
{{ include "sidegate.image" . }}
{{- end -}}
{{- end }}
