"""A node's `/etc/cni/net.d`: which CNI owns new pods on the node.

The container runtime takes the lexicographically first `*.conf`, `*.conflist` or `*.json` and passes over
everything else, which is why Cilium hides other configurations by renaming them to `*.cilium_bak`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

DIRECTORY = "/etc/cni/net.d"
"""Where the files are on the host; containers mount it elsewhere, Cilium and aws-node below `/host`."""

CONFIGURATION_SUFFIXES = (".conf", ".conflist", ".json")
HIDDEN_SUFFIX = ".cilium_bak"


class CniFiles:
    """The files of one node, by name. Watchers hear of every change, as with fsnotify."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._watchers: list[Callable[[], None]] = []

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> str:
        """The file's content; raises `FileNotFoundError`."""
        try:
            return self._files[name]
        except KeyError:
            raise FileNotFoundError(f"{DIRECTORY}/{name}") from None

    def write(self, name: str, content: str) -> None:
        if self._files.get(name) != content:
            self._files[name] = content
            self._changed()

    def remove(self, name: str) -> None:
        """Delete the file; raises `FileNotFoundError`."""
        self.read(name)
        del self._files[name]
        self._changed()

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing what `new` was; raises `FileNotFoundError`."""
        content = self.read(old)
        del self._files[old]
        self._files[new] = content
        self._changed()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after every change."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        self._watchers.remove(watcher)

    def configurations(self) -> list[str]:
        """The files that the runtime would take, the one it does take first."""
        return [name for name in self.names() if name.endswith(CONFIGURATION_SUFFIXES)]

    def active(self) -> str | None:
        """The configuration in force: the first one by name."""
        return next(iter(self.configurations()), None)

    def plugin_type(self) -> str | None:
        """The `type` of the first plugin in the configuration in force: who attaches new pods."""
        name = self.active()
        if name is None:
            return None
        try:
            configuration = json.loads(self._files[name])
            plugin = configuration["plugins"][0] if "plugins" in configuration else configuration
            kind: str = plugin["type"]
        except (ValueError, LookupError, TypeError):
            return None
        return kind

    def _changed(self) -> None:
        for watcher in tuple(self._watchers):
            watcher()
