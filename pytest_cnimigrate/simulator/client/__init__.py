"""The Kubernetes API as the simulator's own loops use it: in this process or over HTTP."""
