{{/* Name of the release's objects, or of one component's: include "linnet.name" (list $ "gateway"). */}}
{{- define "linnet.name" -}}
{{- $root := index . 0 -}}
{{- $full := ternary $root.Release.Name (printf "%s-linnet" $root.Release.Name) (contains "linnet" $root.Release.Name) -}}
{{- printf "%s-%s" ($full | trunc 40 | trimSuffix "-") (index . 1) -}}
{{- end }}

{{/* Labels that select a component's pods; they never change. */}}
{{- define "linnet.selector" -}}
app.kubernetes.io/name: linnet
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of a component's objects. */}}
{{- define "linnet.labels" -}}
{{ include "linnet.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/part-of: linnet
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Image of a component: by digest where one is given. */}}
{{- define "linnet.image" -}}
{{- $images := (index . 0).Values.images -}}
{{- $image := index $images (index . 1) -}}
{{- $repository := printf "%s%s" (ternary "" (printf "%s/" $images.registry) (empty $images.registry)) $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Host and port of a component's service, as the release's pods and the runs' pods reach it. */}}
{{- define "linnet.address" -}}
{{ include "linnet.name" (list (index . 0) (index . 1)) }}.{{ (index . 0).Release.Namespace }}.svc:{{ index . 2 }}
{{- end }}

{{/* The object store as pods reach it. */}}
{{- define "linnet.storeEndpoint" -}}
{{- if eq .Values.store.kind "embedded" -}}
http://{{ include "linnet.address" (list . "store" 8333) }}
{{- else -}}
{{ .Values.store.endpoint }}
{{- end -}}
{{- end }}

{{/* Name of the Secret with the store's keys. */}}
{{- define "linnet.storeSecret" -}}
{{- .Values.store.secret | default (include "linnet.name" (list . "store")) -}}
{{- end }}

{{/* Name of the Secret with the gateway's certificate. */}}
{{- define "linnet.tlsSecret" -}}
{{- .Values.tls.secret | default (include "linnet.name" (list . "gateway-tls")) -}}
{{- end }}

{{/* Name of the gateway's database URL secret; empty with SQLite. */}}
{{- define "linnet.sqlite" -}}
{{- if eq .Values.database.kind "sqlite" -}}true{{- end -}}
{{- end }}
