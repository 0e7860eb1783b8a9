{{/* A claim that outlives the release: include "linnet.claim" (list $ "gateway" "gateway-records" .volume). */}}
{{- define "linnet.claim" -}}
{{- $volume := index . 3 -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "linnet.name" (list (index . 0) (index . 2)) }}
  labels:
    {{- include "linnet.labels" (list (index . 0) (index . 1)) | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  accessModes: [ReadWriteOnce]
  {{- with $volume.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ $volume.size }}
{{- end }}
