"""Cilium's hand on a node's CNI directory: writes its own file and hides all others."""

from __future__ import annotations

from pytest_cnimigrate.simulator.cni.cilium_config import CNI_FILE, CiliumConfig
from pytest_cnimigrate.simulator.nodes.cni_files import HIDDEN_SUFFIX, CniFiles

FILE = """
{
  "cniVersion": "0.3.1",
  "name": "cilium",
  "plugins": [
    {
       "type": "cilium-cni",
       "enable-debug": false,
       "log-file": "/var/run/cilium/cilium-cni.log"
    }
  ]
}"""


class CniFileManager:
    """Keeps the directory as the configuration wants it, from `start` to `stop`."""

    def __init__(self, files: CniFiles, config: CiliumConfig, *, broken: bool) -> None:
        self._files = files
        self._config = config
        self._broken = broken
        self._watching = False
        self._busy = False

    def start(self) -> None:
        """Write the file; with `cni-exclusive` also hide the others, now and whenever one appears."""
        if not self._config.cni_file or self._broken:
            return
        self._apply()
        if self._config.cni_exclusive:
            self._files.watch(self._apply)
            self._watching = True

    def stop(self) -> None:
        if self._watching:
            self._files.unwatch(self._apply)
            self._watching = False

    def uninstall(self) -> None:
        """What `/cni-uninstall.sh` does before the agent stops: nothing unless asked for (`cni-uninstall`).

        The hidden files are not brought back; a rollback must do that.
        """
        self.stop()
        if self._config.cni_uninstall:
            for name in self._files.configurations():
                if "cilium" in name:
                    self._files.remove(name)

    def status(self) -> dict[str, str]:
        """The field `cni-file` of the agent's StatusResponse."""
        name = self._config.cni_file
        if not name:
            return {"msg": "CNI configuration management disabled", "state": "Disabled"}
        path = f"/host/etc/cni/net.d/{name}"
        if name not in self._files.names():
            return {"msg": f"failed to write CNI configuration file at {path}", "state": "Failure"}
        return {"msg": f"successfully wrote CNI configuration file to {path}", "state": "Ok"}

    def _apply(self) -> None:
        if self._busy:
            return  # our own change has woken us
        self._busy = True
        try:
            self._files.write(self._config.cni_file, FILE)
            if self._config.cni_exclusive:
                for name in self._files.configurations():
                    if name not in (self._config.cni_file, CNI_FILE):
                        self._files.rename(name, name + HIDDEN_SUFFIX)
        finally:
            self._busy = False
