"""Amazon EC2: what is looked at and touched around a cluster. Launching is left to Auto Scaling."""
