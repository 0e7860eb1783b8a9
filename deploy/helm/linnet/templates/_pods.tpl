{{/* Security of a pod: what the restricted profile asks for. */}}
{{- define "linnet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Security of a container: as above, and a root that nothing writes to. */}}
{{- define "linnet.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Labels of a service's pods: its own, and those of the values: include "linnet.podLabels" (list $ "gateway"). */}}
{{- define "linnet.podLabels" -}}
{{- $own := include "linnet.labels" . -}}
{{- $component := index . 1 -}}
{{- $further := (index (index . 0).Values $component).podLabels -}}
{{- range $label, $_ := $further }}
{{- if hasKey ($own | fromYaml) $label }}
{{- fail (printf "%s.podLabels: %s is the chart's own, by which pods are found" $component $label) }}
{{- end }}
{{- end }}
{{- $own }}
{{- with $further }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where a pod may run, and what it pulls its image with: include "linnet.placement" (list $ "gateway"). */}}
{{- define "linnet.placement" -}}
{{- $root := index . 0 -}}
{{- $own := index $root.Values (index . 1) -}}
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What the pods of gateway, evaluator and profiler have in common: include "linnet.pod" (list $ "evaluator"). */}}
{{- define "linnet.pod" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $own := index $root.Values $name -}}
serviceAccountName: {{ include "linnet.name" (list $root $name) }}
automountServiceAccountToken: {{ eq $name "gateway" }}
# Variables of Services would look like settings of ours.
enableServiceLinks: false
securityContext:
  {{- include "linnet.podSecurity" . | nindent 2 }}
# The pod leaves its Services, then ends its calls.
terminationGracePeriodSeconds: {{ add $own.drainSeconds 15 }}
{{- with $own.priorityClass }}
priorityClassName: {{ . }}
{{- end }}
{{- include "linnet.placement" (list $root $name) }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "linnet.selector" (list $root $name) | nindent 8 }}
  {{- end }}
{{- end }}

{{/* What their containers have in common. */}}
{{- define "linnet.container" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $own := index $root.Values $name -}}
name: {{ $name }}
image: {{ include "linnet.image" (list $root $name) }}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
securityContext:
  {{- include "linnet.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml $own.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
lifecycle:
  preStop:
    # Until every node has taken the pod out of its Services.
    sleep: {seconds: 5}
{{- end }}

{{/* Whether the process serves, and whether its event loop still answers; the port of /metrics speaks plain text,
     whatever the others do. */}}
{{- define "linnet.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 90
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
{{- end }}

{{/* Variables: include "linnet.env" (list "LINNET_GATEWAY_" (dict "PORT" 50051)). */}}
{{- define "linnet.env" -}}
{{- $prefix := index . 0 -}}
{{- range $field, $value := index . 1 }}
- name: {{ $prefix }}{{ $field }}
  value: {{ include "linnet.plain" $value | quote }}
{{- end }}
{{- end }}

{{/* Variables of values' own `settings` beside those that the chart sets; no variable is set twice:
     include "linnet.settings" (list "gateway.settings" "LINNET_GATEWAY_" .settings (dict "PORT" 50051) (list "API_TOKEN")). */}}
{{- define "linnet.settings" -}}
{{- $known := index . 3 -}}
{{- $elsewhere := index . 4 -}}
{{- $value := index . 0 -}}
{{- range $field, $_ := index . 2 }}
{{- $bare := trimSuffix "_FILE" $field }}
{{- if or (hasKey $known $field) (hasKey $known $bare) (has $bare $elsewhere) }}
{{- fail (printf "%s.%s: other values of the chart decide it" $value $field) }}
{{- end }}
{{- end }}
{{- $all := deepCopy (index . 2) }}
{{- range $field, $given := $known }}
{{- $_ := set $all $field $given }}
{{- end }}
{{- include "linnet.env" (list (index . 1) $all) }}
{{- end }}

{{/* A value as a service reads it: Helm's numbers are floats, whose large ones have an exponent. */}}
{{- define "linnet.plain" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- . | toString -}}
{{- end -}}
{{- end }}

{{/* Fields of the object store's place and keys. */}}
{{- define "linnet.storeFields" -}}
[STORE_ENDPOINT, STORE_BUCKET, STORE_ACCESS_KEY, STORE_SECRET_KEY]
{{- end }}

{{/* Variables that hold the object store's place and keys. */}}
{{- define "linnet.storeEnv" -}}
{{- $root := index . 0 -}}
{{- $prefix := index . 1 -}}
- name: {{ $prefix }}STORE_ENDPOINT
  value: {{ include "linnet.storeEndpoint" $root | quote }}
- name: {{ $prefix }}STORE_BUCKET
  value: {{ $root.Values.store.bucket | quote }}
- name: {{ $prefix }}STORE_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "linnet.storeSecret" $root }}
      key: {{ $root.Values.store.accessKeyKey }}
- name: {{ $prefix }}STORE_SECRET_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "linnet.storeSecret" $root }}
      key: {{ $root.Values.store.secretKeyKey }}
{{- end }}
