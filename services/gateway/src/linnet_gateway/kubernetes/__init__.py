"""The Kubernetes adapter: launches as Indexed Jobs, leadership by Lease, the cluster doctor.

Imported only where it is used; nothing else of the gateway imports `kubernetes`.
"""
