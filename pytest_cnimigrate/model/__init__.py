"""What all sides know: resources, shapes of objects, selectors, documents, secrets. Pure functions only."""
