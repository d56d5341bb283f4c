{{/* The arguments of the injector, one a line, without extraArgs. A flag whose value is empty is left
     out. */}}
{{- define "sidegate.arguments" -}}
{{- $v := .Values -}}
injector
--port={{ $v.port }}
--healthz-port={{ $v.healthPort }}
--enable-metrics={{ $v.metrics.enabled }}
--metrics-port={{ $v.metrics.port }}
{{- with $v.listenAddress }}
--listen-address={{ . }}
{{- end }}
{{- with $v.healthListenAddress }}
--healthz-listen-address={{ . }}
{{- end }}
{{- with $v.metrics.listenAddress }}
--metrics-listen-address={{ . }}
{{- end }}
{{ include "sidegate.certificateArguments" . }}
--mutating-webhook={{ include "sidegate.injector" . }}
{{- if $v.advice.enabled }}
--validating-webhook={{ include "sidegate.advice" . }}
{{- end }}
{{- if $v.clientCertificates.configMap }}
--client-ca-file=/etc/sidegate/client-ca/ca.crt
{{- with $v.clientCertificates.names }}
--client-names={{ join "," . }}
{{- end }}
{{- end }}
{{- with $v.allowedServiceAccounts }}
--allowed-service-accounts={{ join "," . }}
{{- end }}
--max-body-bytes={{ int64 $v.maxBodyBytes }}
--shutdown-delay-seconds={{ $v.shutdownDelaySeconds }}
--log-level={{ $v.log.level }}
--log-as-json={{ $v.log.json }}
{{- if gt (int $v.workerThreads) 1 }}
--worker-threads={{ $v.workerThreads }}
{{- end }}
{{ include "sidegate.sidecarArguments" . }}
{{- with include "sidegate.controlPlaneArguments" . | trim }}
{{ . }}
{{- end }}
{{- end }}

{{- define "sidegate.certificateArguments" -}}
{{- if eq .Values.certificate.mode "self" -}}
{{- with .Values.certificate.self -}}
--certificate-secret={{ include "sidegate.certificateSecret" $ }}
--namespace={{ $.Release.Namespace }}
--service-name={{ include "sidegate.injector" $ }}
--ca-lifetime={{ .caLifetime }}
--leaf-lifetime={{ .leafLifetime }}
--propagation-wait={{ .propagationWait }}
{{- end }}
{{- else -}}
--tls-cert-file=/etc/sidegate/certificate/tls.crt
--tls-key-file=/etc/sidegate/certificate/tls.key
--webhook-ca-file=/etc/sidegate/certificate/ca.crt
{{- end }}
{{- end }}

{{- define "sidegate.sidecarArguments" -}}
{{- with .Values.sidecar -}}
--sidecar-image={{ include "sidegate.sidecarImage" $ }}
--sidecar-image-pull-policy={{ ternary .image.pullPolicy $.Values.image.pullPolicy (ne .image.repository "") }}
--native-sidecar={{ .native }}
--allow-weakened-security={{ .allowWeakenedSecurity }}
--sidecar-secrets-default-access={{ .secretsDefaultAccess }}
--sidecar-run-as-non-root={{ .runAsNonRoot }}
--sidecar-read-only-root-filesystem={{ .readOnlyRootFilesystem }}
--sidecar-drop-all-capabilities={{ .dropAllCapabilities }}
{{- if .runAsUser }}
--sidecar-run-as-user={{ int64 .runAsUser }}
{{- end }}
{{- if .runAsGroup }}
--sidecar-run-as-group={{ int64 .runAsGroup }}
{{- end }}
--enable-k8s-downward-apis={{ .downwardApis }}
{{- with .ignoreEntrypointTolerations }}
--ignore-entrypoint-tolerations={{ toJson . }}
{{- end }}
{{- with .componentSocketsFolder }}
--component-sockets-folder={{ . }}
{{- end }}
--cluster-domain={{ $.Values.clusterDomain }}
{{- end }}
{{- end }}

{{- define "sidegate.controlPlaneArguments" -}}
{{- with .Values.controlPlane }}
{{- with .namespace }}
--control-plane-namespace={{ . }}
{{- end }}
{{- with .trustDomain }}
--control-plane-trust-domain={{ . }}
{{- end }}
{{- with .address }}
--control-plane-address={{ . }}
{{- end }}
{{- if .sentryAddress }}
--sentry-address={{ .sentryAddress }}
--enable-mtls={{ .mtls }}
{{- if .trustAnchors.configMap }}
--trust-anchors-file=/etc/sidegate/trust-anchors/ca.crt
{{- end }}
{{- end }}
{{- with .placementAddress }}
--placement-address={{ . }}
{{- end }}
{{- with .schedulerAddress }}
--scheduler-address={{ . }}
{{- end }}
{{- end }}
{{- end }}
