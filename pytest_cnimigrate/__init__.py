"""pytest-cnimigrate: replace the CNI of a running Kubernetes cluster as a pytest run."""

__version__ = "0.1.0"
