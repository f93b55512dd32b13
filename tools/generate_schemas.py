"""Write `simulator/apiserver/schemas.json`: the schemas of the kinds that the embedded cluster serves.

The source is the development dependency `kubernetes-validate`, which ships Kubernetes' own schemas (Apache
2.0) with the merge keys that strategic merge patch and server-side apply need. Descriptions are left out:
they are nine tenths of the text and no code reads them.

Run it after a new version of `kubernetes-validate`, or when a kind is added to `client/resources.py`:

    python tools/generate_schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate

from pytest_cnimigrate.model import resources
from pytest_cnimigrate.simulator.apiserver.schema import references

VERSION = "v1.36.0"
TARGET = Path(__file__).parent.parent / "pytest_cnimigrate/simulator/apiserver/schemas.json"

# Bodies of subresources and reviews: kinds without a resource of their own.
EXTRA_KINDS = {
    ("", "v1", "Binding"),
    ("policy", "v1", "Eviction"),
    ("autoscaling", "v1", "Scale"),
    ("meta", "v1", "DeleteOptions"),
}

KEPT = {
    "additionalProperties", "format", "items", "oneOf", "properties", "required", "type",
    "x-kubernetes-group-version-kind", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-map-type", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy",
}  # fmt: skip


def trim(schema: dict[str, Any]) -> dict[str, Any]:
    """The parts of one schema that are used, with `$defs` renamed to OpenAPI's `definitions`."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/$defs/", "#/definitions/")}
    trimmed: dict[str, Any] = {}
    for key, value in schema.items():
        if key not in KEPT:
            continue
        if key == "type":
            # The package marks every optional field as nullable; Kubernetes' own schema does not.
            value = next(t for t in value if t != "null") if isinstance(value, list) else value
        elif key == "properties":
            value = {name: trim(field) for name, field in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            value = trim(value)
        elif key == "oneOf":
            value = [trim(choice) for choice in value]
        trimmed[key] = value
    return trimmed


def main() -> None:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"{VERSION}-local"
    source = json.loads((folder / "_definitions.json").read_text())["$defs"]
    served = {r for r in vars(resources).values() if isinstance(r, resources.Resource)}
    wanted = {(r.group, r.version, r.kind) for r in served} | EXTRA_KINDS
    definitions: dict[str, Any] = {}
    pending = sorted(
        name
        for name, schema in source.items()
        for kind in schema.get("x-kubernetes-group-version-kind", ())
        if (kind["group"], kind["version"], kind["kind"]) in wanted
    )
    while pending:
        name = pending.pop()
        if name not in definitions:
            definitions[name] = trim(source[name])
            pending.extend(references(definitions[name]))
    TARGET.write_text(
        json.dumps({"version": VERSION, "definitions": definitions}, sort_keys=True, separators=(",", ":"))
        + "\n"
    )
    print(f"{TARGET}: {len(definitions)} definitions, {TARGET.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
