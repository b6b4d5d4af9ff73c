{{- /* Image reference of .image, by digest if there is one. */ -}}
{{- define "device-mounter.image" -}}
{{- $tag := .image.tag | default .version -}}
{{- .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ $tag }}{{ end -}}
{{- end -}}

{{- define "device-mounter.productImage" -}}
{{- include "device-mounter.image" (dict "image" .Values.image "version" .Chart.AppVersion) -}}
{{- end -}}

{{- /* Before Kubernetes 1.30 a slave ignores SIGTERM by means of a shell. */ -}}
{{- define "device-mounter.slaveImage" -}}
{{- if .Values.slave.image -}}
{{- .Values.slave.image -}}
{{- else if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version -}}
registry.k8s.io/pause:3.10
{{- else -}}
{{- include "device-mounter.productImage" . -}}
{{- end -}}
{{- end -}}

{{- /* Where pods of .part may run: nodeSelector, affinity and tolerations. */ -}}
{{- define "device-mounter.placement" -}}
nodeSelector:
  {{- toYaml (merge (dict) .part.nodeSelector .Values.nodeSelector) | nindent 2 }}
{{- with .part.affinity | default .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Replicas on different nodes, where there are enough. */ -}}
{{- define "device-mounter.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: { app.kubernetes.io/name: {{ . }} } }
{{- end -}}

{{- /* For processes that need no rights: any cluster's "restricted" level admits them. */ -}}
{{- define "device-mounter.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "device-mounter.containerSecurity" -}}
securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
{{- end -}}

{{- define "device-mounter.resources" -}}
resources:
  {{- toYaml . | nindent 2 }}
{{- end -}}

{{- define "device-mounter.temporalAddress" -}}
{{- if .Values.temporal.embedded -}}
device-mounter-temporal.{{ .Release.Namespace }}.svc:7233
{{- else -}}
{{- required "temporal.address must be set when temporal.embedded is false" .Values.temporal.address -}}
{{- end -}}
{{- end -}}

{{- /* What every process is told: how to reach Temporal, and where it runs. */ -}}
{{- define "device-mounter.env" -}}
{{- $folder := "/etc/device-mounter/temporal" -}}
- { name: TEMPORAL_ADDRESS, value: {{ include "device-mounter.temporalAddress" . | quote }} }
- { name: TEMPORAL_NAMESPACE, value: {{ .Values.temporal.namespace | quote }} }
{{- with .Values.temporal.tls }}
- { name: TEMPORAL_TLS, value: {{ . | quote }} }
{{- end }}
{{- with .Values.temporal.tlsServerName }}
- { name: TEMPORAL_TLS_SERVER_NAME, value: {{ . | quote }} }
{{- end }}
{{- with .Values.temporal.secret }}
{{- if .name }}
{{- with .ca }}
- { name: TEMPORAL_TLS_SERVER_CA_CERT_PATH, value: "{{ $folder }}/{{ . }}" }
{{- end }}
{{- with .clientCertificate }}
- { name: TEMPORAL_TLS_CLIENT_CERT_PATH, value: "{{ $folder }}/{{ . }}" }
{{- end }}
{{- with .clientKey }}
- { name: TEMPORAL_TLS_CLIENT_KEY_PATH, value: "{{ $folder }}/{{ . }}" }
{{- end }}
{{- with .apiKey }}
- { name: TEMPORAL_API_KEY_FILE, value: "{{ $folder }}/{{ . }}" }
{{- end }}
{{- with .payloadKeys }}
- { name: TEMPORAL_PAYLOAD_KEYS, value: "{{ $folder }}/{{ . }}" }
{{- end }}
{{- end }}
{{- end }}
# Of this cluster in Temporal; empty: made of the UID of namespace kube-system.
- { name: CLUSTER_NAME, value: {{ .Values.clusterName | quote }} }
- { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
{{- end -}}

{{- define "device-mounter.temporalMount" -}}
{{- if .Values.temporal.secret.name }}
- { name: temporal, mountPath: /etc/device-mounter/temporal, readOnly: true }
{{- end }}
{{- end -}}

{{- define "device-mounter.temporalVolume" -}}
{{- with .Values.temporal.secret.name }}
- { name: temporal, secret: { secretName: {{ . }} } }
{{- end }}
{{- end -}}

{{- /* Who makes certificates and keys, and whether the control worker registers the API: environment of the control worker. */ -}}
{{- define "device-mounter.certificatesEnv" -}}
{{- $modes := dict "self" "self" "certManager" "cert-manager" "existing" "existing" -}}
- { name: CERTIFICATES, value: {{ get $modes .Values.certificates.mode }} }
{{- if .Values.apiService.register }}
# With this ClusterRole the APIService is deleted.
- { name: API_SERVICE_OWNER, value: "device-mounter:installation" }
{{- end }}
{{- end -}}
