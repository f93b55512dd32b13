"""The scheduler: which node a pod goes to, and in kube's words why none would do."""
