"""Starting, watching and stopping the containers of one pod."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable

from pytest_cnimigrate.model.objects import Object, key_of, uid_of
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.nodes.environment import ContainerConfigError, environment
from pytest_cnimigrate.simulator.nodes.machine import Sandbox
from pytest_cnimigrate.simulator.nodes.pod_status import Container, full_image_name
from pytest_cnimigrate.simulator.nodes.programs import Context, Program
from pytest_cnimigrate.simulator.nodes.services import NodeServices

log = logging.getLogger("cnimigrate.simulator.kubelet")

PULL_SECONDS = 1.5
START_SECONDS = 0.3
PROBE_SECONDS = 0.5
"""From an answer to a probe to the pod's condition; 0.56 s in the recordings."""
FIRST_BACK_OFF = 10.0
MAX_BACK_OFF = 300.0
BACK_OFF_RESET = 600.0
"""Kubelet doubles the wait between restarts from 10 s to 5 min and forgets it after 10 min of running."""


class Containers:
    """The containers of one pod on one node."""

    def __init__(self, pod: Object, services: NodeServices, changed: Callable[[], Awaitable[None]]) -> None:
        self._services = services
        self._changed = changed
        self._uid = uid_of(pod)
        self.all = [
            *(Container(spec, init=True) for spec in pod["spec"].get("initContainers") or ()),
            *(Container(spec) for spec in pod["spec"]["containers"]),
        ]
        for container in self.all:
            if any(other.init for other in self.all):
                container.waits("PodInitializing")
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, name: str) -> Container | None:
        """The container of that name; the pod's first regular one for ""."""
        candidates = [c for c in self.all if not c.init] if not name else self.all
        return next((c for c in candidates if not name or c.name == name), None)

    async def initialise(self, sandbox: Sandbox) -> bool:
        """Run the init containers one after the other; whether the others may start."""
        policy = sandbox.pod["spec"].get("restartPolicy", "Always")
        for container in self.all:
            if not container.init:
                continue
            if container.sidecar:
                await self._start(container, sandbox)
                self._spawn(self._keep_running(container, sandbox, "Always"))
                continue
            back_off = FIRST_BACK_OFF
            while (exit_code := await self._run_once(container, sandbox)) != 0:
                container.ends(exit_code)
                if policy == "Never":
                    await self._changed()
                    return False
                back_off = await self._back_off(container, sandbox, back_off)
            container.ends(0)
            await self._changed()
        return True

    async def start(self, sandbox: Sandbox) -> None:
        """Start the regular containers and keep them running as the restart policy says."""
        policy = sandbox.pod["spec"].get("restartPolicy", "Always")
        regular = [container for container in self.all if not container.init]
        for container in regular:
            container.waits("ContainerCreating")
        for container in regular:
            await self._start(container, sandbox)
            self._spawn(self._keep_running(container, sandbox, policy))
        await self._changed()

    async def stop(self, sandbox: Sandbox, grace_seconds: float) -> None:
        """SIGTERM to all, a wait for what they do then, and the end at the latest after the grace period."""
        running = [container for container in self.all if container.running]
        for container in running:
            message = f"Stopping container {container.name}"
            self._services.events.event(
                sandbox.pod, "Normal", "Killing", message, field_path=_field_path(container)
            )
        await asyncio.gather(*(self._stop_one(container, grace_seconds) for container in running))
        await self.kill(sandbox)

    async def kill(self, sandbox: Sandbox | None) -> None:
        """SIGKILL: everything ends now. The containers' states stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if sandbox is not None:
            sandbox.programs.clear()

    async def _stop_one(self, container: Container, grace_seconds: float) -> None:
        program = container.program
        if program is None:
            return
        needed = _pre_stop_seconds(container.spec) + program.shutdown_seconds
        await self._services.pace.sleep(min(needed, grace_seconds))
        await program.stop()
        container.ends(0 if needed <= grace_seconds else 137)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, container: Container, sandbox: Sandbox) -> None:
        """Pull, create and start; waits as long as the container's configuration cannot be resolved."""
        services, pod, path = self._services, sandbox.pod, _field_path(container)
        image = container.spec["image"]
        name = full_image_name(image)
        if name in services.machine.images:
            text = f'Container image "{image}" already present on machine and can be accessed by the pod'
        else:
            services.events.event(pod, "Normal", "Pulling", f'Pulling image "{image}"', field_path=path)
            await services.pace.sleep(PULL_SECONDS, jitter=0.3)
            services.machine.images.add(name)
            text = f'Successfully pulled image "{image}" in {PULL_SECONDS:.1f}s'
        services.events.event(pod, "Normal", "Pulled", text, field_path=path)
        while True:
            try:
                env = await environment(
                    services.api, pod, container.spec, host=services.machine.address, address=sandbox.address
                )
                break
            except ContainerConfigError as error:
                container.waits("CreateContainerConfigError", str(error))
                services.events.event(pod, "Warning", "Failed", f"Error: {error}", field_path=path)
                await self._changed()
                await services.pace.sleep(10.0, jitter=0.2)
            except ApiError as error:
                log.debug("cannot resolve the environment of %s: %s", key_of(pod), error.message)
                await services.pace.sleep(1.0)
        container.program = self._program(container, sandbox, env)
        services.events.event(pod, "Normal", "Created", "Container created", field_path=path)
        await services.pace.sleep(START_SECONDS, jitter=0.5)
        container.starts()
        services.events.event(pod, "Normal", "Started", "Container started", field_path=path)
        sandbox.programs[container.name] = container.program

    def _program(self, container: Container, sandbox: Sandbox, env: dict[str, str]) -> Program:
        def on_ready(ready: bool) -> None:
            self._spawn(self._probe(container, context, ready))

        services = self._services
        context = Context(
            api=services.api,
            informers=services.informers,
            pace=services.pace,
            faults=services.faults,
            vpc=services.machine.vpc,
            wire=services.wire,
            events=services.events,
            machine=services.machine,
            sandbox=sandbox,
            container=container.spec,
            env=env,
            on_ready=on_ready,
        )
        return services.programs.create(context, init=container.init)

    async def _probe(self, container: Container, context: Context, ready: bool) -> None:
        probe = container.spec.get("readinessProbe")
        if probe is not None:
            wait = PROBE_SECONDS + (probe.get("initialDelaySeconds", 0) if ready else 0)
            await self._services.pace.sleep(wait, jitter=0.2)
        program = container.program
        if program is not None and program.context is context and container.ready != ready:
            container.ready = ready
            await self._changed()

    async def _run_once(self, container: Container, sandbox: Sandbox) -> int:
        await self._start(container, sandbox)
        await self._changed()
        return await self._run(container, sandbox)

    async def _run(self, container: Container, sandbox: Sandbox) -> int:
        assert container.program is not None  # noqa: S101 - set by _start
        try:
            return await container.program.run()
        except Exception as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # It broke while it was being killed: the kill goes on.
                raise asyncio.CancelledError from error
            # A program of ours that breaks is a container that crashes: the cluster goes on.
            log.exception("program of %s/%s failed", key_of(sandbox.pod), container.name)
            container.program.context.print(f"panic: {error!r}")
            return 2
        finally:
            sandbox.programs.pop(container.name, None)

    async def _keep_running(self, container: Container, sandbox: Sandbox, policy: str) -> None:
        loop = asyncio.get_running_loop()
        back_off = FIRST_BACK_OFF
        while True:
            started = loop.time()
            exit_code = await self._run(container, sandbox)
            container.ends(exit_code)
            await self._changed()
            if policy == "Never" or (policy == "OnFailure" and exit_code == 0):
                return
            if loop.time() - started > self._services.pace.wall(BACK_OFF_RESET):
                back_off = FIRST_BACK_OFF
            if container.restart_count == 0:
                # The first restart is at once.
                container.restarts()
            else:
                back_off = await self._back_off(container, sandbox, back_off)
            await self._start(container, sandbox)
            await self._changed()

    async def _back_off(self, container: Container, sandbox: Sandbox, seconds: float) -> float:
        """Wait in CrashLoopBackOff; how long to wait the next time."""
        pod = f"{sandbox.pod['metadata']['name']}_{sandbox.pod['metadata']['namespace']}({self._uid})"
        container.restarts()
        text = f"back-off {_duration(seconds)} restarting failed container={container.name} pod={pod}"
        container.waits("CrashLoopBackOff", text)
        self._services.events.event(
            sandbox.pod,
            "Warning",
            "BackOff",
            f"Back-off restarting failed container {container.name} in pod {pod}",
            field_path=_field_path(container),
        )
        await self._changed()
        await self._services.pace.sleep(seconds)
        return min(seconds * 2, MAX_BACK_OFF)


def _field_path(container: Container) -> str:
    kind = "initContainers" if container.init else "containers"
    return f"spec.{kind}{{{container.name}}}"


def _duration(seconds: float) -> str:
    """As Go prints it: `10s`, `1m20s`, `5m0s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _pre_stop_seconds(spec: Object) -> float:
    """How long the preStop hook takes: `sleep`, or a command that sleeps; other commands take no time."""
    hook = (spec.get("lifecycle") or {}).get("preStop") or {}
    if "sleep" in hook:
        return float(hook["sleep"]["seconds"])
    found = re.search(r"\bsleep\s+(\d+)", " ".join((hook.get("exec") or {}).get("command") or ()))
    return float(found[1]) if found else 0.0
