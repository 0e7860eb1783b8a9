{{/* NetworkPolicy ports: include "linnet.ports" (list "TCP" .ports). */}}
{{- define "linnet.ports" -}}
{{- $protocol := index . 0 -}}
{{- range index . 1 }}
- {protocol: {{ $protocol }}, port: {{ . }}}
{{- end }}
{{- end }}

{{/* Port that a URL names, or its scheme's. */}}
{{- define "linnet.portOf" -}}
{{- regexFind ":[0-9]+$" . | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https:" .)) -}}
{{- end }}

{{/* One way out; without peers to anywhere: include "linnet.wayOut" (list .networkPolicy.database .ports). */}}
{{- define "linnet.wayOut" -}}
- ports:
    {{- include "linnet.ports" (list "TCP" (index . 1)) | nindent 4 }}
  {{- with (index . 0).peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Peers that policies of both namespaces name: include "linnet.sharedPeers" (list "networkPolicy.dns.peers" .peers). */}}
{{- define "linnet.sharedPeers" -}}
{{- $value := index . 0 -}}
{{- range index . 1 }}
{{- if and .podSelector (not (hasKey . "namespaceSelector")) }}
{{- fail (printf "%s: a podSelector needs a namespaceSelector beside it, since policies of two namespaces name these pods" $value) }}
{{- end }}
{{- if .ipBlock }}
{{- if and (hasSuffix "/0" .ipBlock.cidr) (empty .ipBlock.except) }}
{{- fail (printf "%s: %s would open the API server and every other address to trainers; name narrower ones, or give `except`" $value .ipBlock.cidr) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml (index . 1) }}
{{- end }}

{{/* The way to the cluster's name servers. */}}
{{- define "linnet.toDns" -}}
{{- $dns := .Values.networkPolicy.dns -}}
- ports:
    {{- include "linnet.ports" (list "UDP" $dns.ports) | nindent 4 }}
    {{- include "linnet.ports" (list "TCP" $dns.ports) | nindent 4 }}
  to:
    {{- include "linnet.sharedPeers" (list "networkPolicy.dns.peers" $dns.peers) | nindent 4 }}
{{- end }}

{{/* The way to the object store. */}}
{{- define "linnet.toStore" -}}
{{- $store := .Values.networkPolicy.store -}}
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
{{- if empty $store.peers }}
{{- fail "networkPolicy.store.peers: with store.kind external say where the store is, as NetworkPolicy peers: trainers reach nothing else" }}
{{- end -}}
- ports:
    {{- include "linnet.ports" (list "TCP" ($store.ports | default (list (include "linnet.portOf" .Values.store.endpoint)))) | nindent 4 }}
  to:
    {{- include "linnet.sharedPeers" (list "networkPolicy.store.peers" $store.peers) | nindent 4 }}
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
