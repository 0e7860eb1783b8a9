{{/* The way to a name server: anywhere in the cluster or on its nodes, on port 53 only. */}}
{{- define "linnet.toDns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{/* The way to the object store. */}}
{{- define "linnet.toStore" -}}
{{- if eq .Values.store.kind "embedded" -}}
- ports:
    - {protocol: TCP, port: 8333}
  to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
      podSelector:
        matchLabels:
          {{- include "linnet.selector" (list . "store") | nindent 10 }}
{{- else -}}
- ports:
    - {protocol: TCP, port: {{ .Values.networkPolicy.store.port }}}
  to:
    - ipBlock: {cidr: {{ .Values.networkPolicy.store.cidr }}}
{{- end -}}
{{- end }}

{{/* Who may read /metrics: every namespace, unless networkPolicy.prometheus says who. */}}
{{- define "linnet.fromPrometheus" -}}
- ports:
    - {protocol: TCP, port: 9090}
  from:
    {{- if .Values.networkPolicy.prometheus }}
    {{- toYaml .Values.networkPolicy.prometheus | nindent 4 }}
    {{- else }}
    - namespaceSelector: {}
    {{- end }}
{{- end }}
