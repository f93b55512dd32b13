"""A migration run: its scenario, its journal and run directory, and the changes it makes."""
