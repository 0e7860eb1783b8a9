{{/* The gateway's variables. */}}
{{- define "linnet.gatewayEnv" -}}
{{- $own := .Values.gateway -}}
{{- $known := dict
  "HOST" "0.0.0.0"
  "RUNNER_HOST" "0.0.0.0"
  "PORT" 50051
  "RUNNER_PORT" 50052
  "HTTP_PORT" 8080
  "METRICS_PORT" 9090
  "LAUNCHER" "kubernetes"
  "EVALUATOR_ADDRESS" (include "linnet.address" (list . "evaluator" 50061))
  "PROFILER_ADDRESS" (include "linnet.address" (list . "profiler" 50071))
  "STORE_PUBLIC_ENDPOINT" (.Values.store.publicEndpoint | default (include "linnet.storeEndpoint" .))
  "LOG_LEVEL" $own.logLevel
  "WEB_ORIGINS" (toJson $own.webOrigins)
  "DRAIN_GRACE_S" $own.drainSeconds
  "EXPERT_ALLOWED" (or (not (empty .Values.runs.expert.runtimeClass)) .Values.runs.expert.withoutSandbox)
-}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $known "TLS_CERTIFICATE_FILE" "/run/linnet-tls/tls.crt" -}}
{{- $_ := set $known "TLS_KEY_FILE" "/run/linnet-tls/tls.key" -}}
{{- if .Values.tls.clientCa.secret -}}
{{- $_ := set $known "TLS_CLIENT_CA_FILE" (printf "/run/linnet-client-ca/%s" .Values.tls.clientCa.key) -}}
{{- end -}}
{{- end -}}
{{- if .Values.tls.services.enabled -}}
{{- $_ := set $known "SERVICE_CA_FILE" "/run/linnet-services-ca/ca.crt" -}}
{{- end -}}
{{- if .Values.auth.tokens.secret -}}
{{- $_ := set $known "TOKENS_FILE" (printf "/run/linnet-tokens/%s" .Values.auth.tokens.key) -}}
{{- end -}}
{{- with .Values.auth.oidc -}}
{{- if .issuer -}}
{{- $_ := set $known "OIDC_ISSUER" .issuer -}}
{{- $_ := set $known "OIDC_AUDIENCE" (required "auth.oidc.audience: is needed with auth.oidc.issuer" .audience) -}}
{{- $_ := set $known "OIDC_JWKS_URL" (required "auth.oidc.jwksUrl: is needed with auth.oidc.issuer" .jwksUrl) -}}
{{- $_ := set $known "OIDC_ROLES_CLAIM" .rolesClaim -}}
{{- end -}}
{{- end -}}
{{- $_ := set $known "MIGRATES" (not (empty (include "linnet.sqlite" .))) -}}
{{- if include "linnet.sqlite" . -}}
{{- $_ := set $known "DATABASE_URL" "sqlite:////var/lib/linnet/records.db" -}}
{{- end -}}
{{- $secrets := concat (list "DATABASE_URL" "API_TOKEN" "SERVICE_TOKEN") (include "linnet.storeFields" . | fromYamlArray) -}}
{{- include "linnet.settings" (list "gateway.settings" "LINNET_GATEWAY_" $own.settings $known $secrets) }}
{{- if not (include "linnet.sqlite" .) }}
{{ include "linnet.databaseEnv" . }}
{{- end }}
- name: LINNET_GATEWAY_API_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $own.apiToken.secret | default (include "linnet.name" (list . "gateway-token")) }}
      key: {{ $own.apiToken.key }}
{{ include "linnet.serviceTokenEnv" (list . "LINNET_GATEWAY_") }}
{{ include "linnet.storeEnv" (list . "LINNET_GATEWAY_") }}
{{- include "linnet.launcherEnv" . }}
{{- end }}

{{/* The token that gateway, evaluator and profiler share. */}}
{{- define "linnet.serviceTokenEnv" -}}
{{- $root := index . 0 -}}
{{- $own := $root.Values.auth.serviceToken -}}
- name: {{ index . 1 }}SERVICE_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $own.secret | default (include "linnet.name" (list $root "service-token")) }}
      key: {{ $own.key }}
{{- end }}

{{/* The variable that holds the PostgreSQL database's URL. */}}
{{- define "linnet.databaseEnv" -}}
- name: LINNET_GATEWAY_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secret }}
      key: {{ .Values.database.key }}
{{- end }}

{{/* Where and how trainers run. */}}
{{- define "linnet.launcherEnv" -}}
{{- $runs := .Values.runs -}}
{{- $ceilings := dict -}}
{{- range $project, $ceiling := $runs.projectCeilings -}}
{{- $_ := set $ceilings $project (include "linnet.ceiling" (merge (deepCopy $ceiling) $runs.ceiling) | fromJson) -}}
{{- end -}}
{{- $known := dict
  "NAMESPACE" $runs.namespace
  "INSTANCE" .Release.Name
  "TRAINER_IMAGE" (include "linnet.image" (list . "trainer"))
  "IMAGE_PULL_POLICY" .Values.images.pullPolicy
  "IMAGE_PULL_SECRETS" (toJson .Values.images.pullSecrets)
  "SERVICE_ACCOUNT" (include "linnet.name" (list . "trainer"))
  "GATEWAY_ADDRESS" (include "linnet.address" (list . "gateway-internal" 50052))
  "GATEWAY_CA_SECRET" (include "linnet.caSecret" .)
  "LEASE_NAME" (include "linnet.name" (list . "gateway"))
  "CEILING" (include "linnet.ceiling" $runs.ceiling)
  "PROJECT_CEILINGS" (toJson $ceilings)
  "SCRATCH_BYTES" (int64 $runs.scratchBytes)
  "QUEUE_NAME" $runs.queueName
  "PRIORITY_CLASS" $runs.priorityClass
  "RUNTIME_CLASS" $runs.runtimeClass
  "NODE_SELECTOR" (toJson $runs.nodeSelector)
  "TOLERATIONS" (toJson $runs.tolerations)
  "EXPERT_RUNTIME_CLASS" $runs.expert.runtimeClass
  "EXPERT_WITHOUT_SANDBOX" $runs.expert.withoutSandbox
  "EXPERT_NODE_SELECTOR" (toJson $runs.expert.nodeSelector)
  "EXPERT_TOLERATIONS" (toJson $runs.expert.tolerations)
  "EXPERT_HOST_ALIASES" (toJson $runs.expert.hostAliases)
-}}
{{- if not $runs.hostUsers -}}
{{- $_ := set $known "HOST_USERS" false -}}
{{- end -}}
{{- include "linnet.settings" (list "runs.settings" "LINNET_KUBERNETES_" $runs.settings $known (list "HOST_USERS" "KUBECONFIG")) }}
{{- end }}

{{/* Secret in the runs' namespace that trainers trust; empty without TLS. */}}
{{- define "linnet.caSecret" -}}
{{- if .Values.tls.enabled -}}
{{- .Values.tls.caSecret | default (include "linnet.name" (list . "gateway-ca")) -}}
{{- end -}}
{{- end }}

{{/* A ceiling as the gateway reads it. */}}
{{- define "linnet.ceiling" -}}
{{- $known := dict -}}
{{- range $field, $setting := dict "cpuMillis" "cpu_millis" "memoryBytes" "memory_bytes" "parallelism" "parallelism" "deadlineSeconds" "deadline_s" -}}
{{- if hasKey $ $field -}}
{{- $_ := set $known $setting (int64 (index $ $field)) -}}
{{- end -}}
{{- end -}}
{{- toJson $known -}}
{{- end }}
