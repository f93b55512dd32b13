"""The few commands that every container here knows: looking at and restoring a node's CNI files.

A container sees the files only through a hostPath volume, as in reality. `ls`, `cat`, `rm` and `mv` are what
a person types when a migration is looked into or rolled back; `sh -c` joins them with `&&` or `;`.
"""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.gateway import ExecResult
from pytest_cnimigrate.simulator.nodes.cni_files import DIRECTORY, CniFiles

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.nodes.programs import Context


def not_found(command: str) -> ExecResult:
    """How runc refuses a command that the image does not contain."""
    return ExecResult(
        127,
        stderr="OCI runtime exec failed: exec failed: unable to start container process: "
        f'exec: "{command}": executable file not found in $PATH: unknown\n',
    )


def execute(command: list[str], context: Context) -> ExecResult:
    """Run one of the common commands."""
    if not command:
        return ExecResult(1, stderr="you must specify at least one command for the container\n")
    program, arguments = PurePosixPath(command[0]).name, command[1:]
    if program in ("sh", "bash") and len(arguments) == 2 and arguments[0] in ("-c", "-ec"):
        return _script(arguments[1], context)
    if program == "true":
        return ExecResult(0)
    if program == "hostname":
        return ExecResult(0, context.pod["metadata"]["name"] + "\n")
    if program == "env":
        return ExecResult(0, "".join(f"{name}={value}\n" for name, value in sorted(context.env.items())))
    handlers = {"ls": _ls, "cat": _cat, "rm": _rm, "mv": _mv}
    if program not in handlers:
        return not_found(command[0])
    paths = [argument for argument in arguments if not argument.startswith("-")]
    force = any(argument.startswith("-") and "f" in argument for argument in arguments)
    try:
        return ExecResult(0, handlers[program](paths, _Mounts(context), force))
    except OSError as error:
        return ExecResult(2 if program == "ls" else 1, stderr=f"{program}: {error}\n")


def _script(text: str, context: Context) -> ExecResult:
    """A sequence of simple commands; anything more is answered as a syntax error."""
    lexer = shlex.shlex(text.strip(), posix=True, punctuation_chars="&;|<>()")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError as error:
        return ExecResult(2, stderr=f"sh: syntax error: {error}\n")
    output, result = "", ExecResult(0)
    current: list[str] = []
    for word in [*words, ";"]:
        if word in ("&&", ";"):
            if current:
                result = execute(current, context)
                output += result.stdout
            if result.exit_code != 0 and word == "&&":
                break
            current = []
        elif word and set(word) <= set("&;|<>()"):
            return ExecResult(2, stderr=f"sh: {word}: the simulated shell only knows `&&` and `;`\n")
        else:
            current.append(word)
    return ExecResult(result.exit_code, output, result.stderr)


class _Mounts:
    """Where the container sees the node's CNI directory."""

    def __init__(self, context: Context) -> None:
        self.files: CniFiles = context.machine.cni_files
        self._prefixes = _mounted_at(context.pod, context.container)

    def locate(self, path: str) -> tuple[CniFiles, str]:
        """The file's name below the CNI directory ("" for the directory); raises `FileNotFoundError`."""
        pure = PurePosixPath(path)
        for prefix in self._prefixes:
            if pure == prefix:
                return self.files, ""
            if pure.parent == prefix:
                return self.files, pure.name
        raise FileNotFoundError(f"cannot access '{path}': No such file or directory")


def _mounted_at(pod: Object, container: Object) -> list[PurePosixPath]:
    """The paths in the container at which a hostPath volume shows the CNI directory."""
    host_paths = {
        volume["name"]: PurePosixPath(volume["hostPath"]["path"])
        for volume in pod["spec"].get("volumes") or ()
        if "hostPath" in volume
    }
    found = []
    for mount in container.get("volumeMounts") or ():
        host_path = host_paths.get(mount["name"])
        if host_path is not None and PurePosixPath(DIRECTORY).is_relative_to(host_path):
            rest = PurePosixPath(DIRECTORY).relative_to(host_path)
            found.append(PurePosixPath(mount["mountPath"]) / rest)
    return found


def _ls(paths: list[str], mounts: _Mounts, _force: bool) -> str:
    lines = []
    for path in paths:
        files, name = mounts.locate(path)
        if name and name not in files.names():
            raise FileNotFoundError(f"cannot access '{path}': No such file or directory")
        lines += [path] if name else files.names()
    return "".join(f"{line}\n" for line in lines)


def _cat(paths: list[str], mounts: _Mounts, _force: bool) -> str:
    text = ""
    for path in paths:
        files, name = mounts.locate(path)
        if name not in files.names():
            raise FileNotFoundError(f"{path}: No such file or directory")
        text += files.read(name)
    return text


def _rm(paths: list[str], mounts: _Mounts, force: bool) -> str:
    for path in paths:
        files, name = mounts.locate(path)
        if name in files.names():
            files.remove(name)
        elif not force:
            raise FileNotFoundError(f"cannot remove '{path}': No such file or directory")
    return ""


def _mv(paths: list[str], mounts: _Mounts, _force: bool) -> str:
    if len(paths) != 2:
        raise OSError("the simulated mv takes two paths")
    (files, old), (_, new) = mounts.locate(paths[0]), mounts.locate(paths[1])
    if old not in files.names():
        raise FileNotFoundError(f"cannot stat '{paths[0]}': No such file or directory")
    files.rename(old, new or old)
    return ""
