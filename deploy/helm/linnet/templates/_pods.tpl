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

{{/* Variables: include "linnet.env" (list "LINNET_GATEWAY_" (dict "PORT" 50051)). */}}
{{- define "linnet.env" -}}
{{- $prefix := index . 0 -}}
{{- range $field, $value := index . 1 }}
- name: {{ $prefix }}{{ $field }}
  value: {{ include "linnet.plain" $value | quote }}
{{- end }}
{{- end }}

{{/* A value as a service reads it: Helm's numbers are floats, whose large ones have an exponent. */}}
{{- define "linnet.plain" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- . | toString -}}
{{- end -}}
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
