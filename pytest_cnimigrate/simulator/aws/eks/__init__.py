"""Amazon EKS: clusters, managed node groups, add-ons and their updates."""
