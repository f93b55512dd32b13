"""What both sides know about Kubernetes objects: names of resources, shapes, selectors. Pure functions only."""
