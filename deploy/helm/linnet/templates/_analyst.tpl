{{/* Evaluator or profiler: include "linnet.analyst" (list $ "evaluator" 50061). */}}
{{- define "linnet.analyst" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $port := index . 2 -}}
{{- $own := index $root.Values $component -}}
{{- $name := include "linnet.name" (list $root $component) -}}
{{- $prefix := printf "LINNET_%s_" (upper $component) -}}
{{- if and $own.autoscaling.enabled (gt (int $own.autoscaling.minReplicas) (int $own.autoscaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.minReplicas: expected at most maxReplicas, %v, received %v" $component $own.autoscaling.maxReplicas $own.autoscaling.minReplicas) -}}
{{- end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels:
    {{- include "linnet.labels" (list $root $component) | nindent 4 }}
spec:
  {{- if not $own.autoscaling.enabled }}
  replicas: {{ $own.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "linnet.selector" (list $root $component) | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "linnet.podLabels" (list $root $component) | nindent 8 }}
      {{- with $own.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "linnet.pod" (list $root $component) | nindent 6 }}
      containers:
        - {{- include "linnet.container" (list $root $component) | nindent 10 }}
          ports:
            - {name: grpc, containerPort: {{ $port }}}
            - {name: metrics, containerPort: 9090}
          env:
            {{- $known := dict "HOST" "0.0.0.0" "PORT" $port "METRICS_PORT" 9090 "LOG_LEVEL" $own.logLevel "DRAIN_S" $own.drainSeconds }}
            {{- if $root.Values.tls.services.enabled }}
            {{- $_ := set $known "TLS_CERTIFICATE_FILE" "/run/linnet-tls/tls.crt" }}
            {{- $_ := set $known "TLS_KEY_FILE" "/run/linnet-tls/tls.key" }}
            {{- end }}
            {{- include "linnet.settings" (list (printf "%s.settings" $component) $prefix $own.settings $known (append (include "linnet.storeFields" . | fromYamlArray) "SERVICE_TOKEN")) | nindent 12 }}
            {{- include "linnet.serviceTokenEnv" (list $root $prefix) | nindent 12 }}
            {{- include "linnet.storeEnv" (list $root $prefix) | nindent 12 }}
          {{- include "linnet.probes" $root | nindent 10 }}
          volumeMounts:
            - {name: scratch, mountPath: /tmp}
            {{- if $root.Values.tls.services.enabled }}
            - {name: tls, mountPath: /run/linnet-tls, readOnly: true}
            {{- end }}
      volumes:
        - name: scratch
          emptyDir: {sizeLimit: 4Gi}
        {{- if $root.Values.tls.services.enabled }}
        - name: tls
          secret:
            secretName: {{ include "linnet.servicesTlsSecret" $root }}
            defaultMode: 0440
        {{- end }}
---
# Headless: a gRPC client sees every pod, and spreads its calls over them.
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels:
    {{- include "linnet.labels" (list $root $component) | nindent 4 }}
    linnet.dev/metrics: "true"
spec:
  clusterIP: None
  selector:
    {{- include "linnet.selector" (list $root $component) | nindent 4 }}
  ports:
    - {name: grpc, port: {{ $port }}, targetPort: grpc, appProtocol: grpc}
    - {name: metrics, port: 9090, targetPort: metrics, appProtocol: http}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  labels:
    {{- include "linnet.labels" (list $root $component) | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels:
    {{- include "linnet.labels" (list $root $component) | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "linnet.selector" (list $root $component) | nindent 6 }}
{{- if $own.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels:
    {{- include "linnet.labels" (list $root $component) | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ $own.autoscaling.minReplicas }}
  maxReplicas: {{ $own.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $own.autoscaling.cpuPercent }}
{{- end }}
{{- end }}
