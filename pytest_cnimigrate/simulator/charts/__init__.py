"""Stand-ins for Helm charts that the embedded cluster can install."""
