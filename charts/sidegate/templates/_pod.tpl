{{/* Where the injector's pods run. */}}
{{- define "sidegate.placement" -}}
{{- with .Values.nodeSelector -}}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with .Values.tolerations -}}
tolerations:
  {{- toYaml . | nindent 2 }}
{{ end -}}
affinity:
{{- if .Values.affinity }}
  {{- toYaml .Values.affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "sidegate.injectorSelectorLabels" . | nindent 14 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  -
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "sidegate.injectorSelectorLabels" $ | nindent 8 }}
    # Pods of a new version are spread among themselves.
    matchLabelKeys: [pod-template-hash]
    {{- end }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* An injector that is not ready, such as one without a certificate, gains nothing by a restart:
     liveness asks only whether the process answers. */}}
{{- define "sidegate.probes" -}}
readinessProbe:
  httpGet:
    {{- with .Values.healthListenAddress }}
    host: {{ . | quote }}
    {{- end }}
    path: /healthz
    port: health
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet:
    {{- with .Values.healthListenAddress }}
    host: {{ . | quote }}
    {{- end }}
    path: /livez
    port: health
  initialDelaySeconds: 10
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "sidegate.volumeMounts" -}}
{{- if ne .Values.certificate.mode "self" }}
- name: certificate
  mountPath: /etc/sidegate/certificate
  readOnly: true
{{- end }}
{{- if .Values.clientCertificates.configMap }}
- name: client-ca
  mountPath: /etc/sidegate/client-ca
  readOnly: true
{{- end }}
{{- if .Values.controlPlane.trustAnchors.configMap }}
- name: trust-anchors
  mountPath: /etc/sidegate/trust-anchors
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidegate.volumes" -}}
{{- if ne .Values.certificate.mode "self" }}
- name: certificate
  secret:
    secretName: {{ include "sidegate.certificateSecret" . }}
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- with .Values.clientCertificates }}
{{- if .configMap }}
- name: client-ca
  configMap:
    name: {{ .configMap }}
    items:
      - key: {{ .key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- with .Values.controlPlane.trustAnchors }}
{{- if .configMap }}
- name: trust-anchors
  configMap:
    name: {{ .configMap }}
    items:
      - key: {{ .key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
