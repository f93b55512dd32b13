"""Looking at a cluster over time: waiting for a condition, and goldpinger's matrix of who reaches whom."""
