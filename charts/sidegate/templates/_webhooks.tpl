{{/* A namespace selector: the user's, without the namespaces that are left out: {root, selector}. */}}
{{- define "sidegate.namespaceSelector" -}}
{{- with .selector.matchLabels -}}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{ end -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      {{- toYaml (prepend .root.Values.webhook.excludedNamespaces .root.Release.Namespace | uniq) | nindent 6 }}
  {{- with .selector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
