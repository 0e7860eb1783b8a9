{{/* A Certificate of cert-manager for a component's Services:
     include "linnet.certificate" (list $ "gateway" "linnet-gateway-tls" (list "gateway") .Values.tls.certManager). */}}
{{- define "linnet.certificate" -}}
{{- $root := index . 0 -}}
{{- $secret := index . 2 -}}
{{- $own := index . 4 -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ $secret }}
  labels:
    {{- include "linnet.labels" (list $root (index . 1)) | nindent 4 }}
spec:
  secretName: {{ $secret }}
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
  usages: [server auth]
  dnsNames:
    {{- range $service := index . 3 }}
    {{- $host := include "linnet.name" (list $root $service) }}
    - {{ $host }}
    - {{ $host }}.{{ $root.Release.Namespace }}.svc
    - {{ $host }}.{{ $root.Release.Namespace }}.svc.cluster.local
    {{- end }}
    {{- range $own.dnsNames }}
    - {{ . }}
    {{- end }}
  issuerRef:
    group: cert-manager.io
    kind: {{ $own.issuerKind }}
    name: {{ $own.issuer }}
{{- end }}

{{/* Secret with the certificate of evaluator and profiler. */}}
{{- define "linnet.servicesTlsSecret" -}}
{{- .Values.tls.services.secret | default (include "linnet.name" (list . "services-tls")) -}}
{{- end }}

{{/* Volume with the authorities that evaluator's and profiler's callers trust: ca.crt and no key,
     though cert-manager puts it beside one. */}}
{{- define "linnet.servicesCaVolume" -}}
{{- $own := .Values.tls.services -}}
name: services-ca
secret:
  {{- if $own.ca }}
  secretName: {{ include "linnet.name" (list . "services-ca") }}
  {{- else }}
  secretName: {{ $own.caSecret | default (include "linnet.servicesTlsSecret" .) }}
  {{- end }}
  items:
    - {key: ca.crt, path: ca.crt}
  defaultMode: 0440
{{- end }}
