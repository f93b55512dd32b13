"""The recorder on a live API server: what happens is recorded at once, and what it missed is told."""

from __future__ import annotations

import threading
import time

import pytest
from live_api import client as make_client
from live_api import live_api, until

from pytest_cnimigrate.model.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    NODES,
    PODS,
    Resource,
)
from pytest_cnimigrate.observe.record import (
    Mark,
    Poll,
    Recorder,
    Transition,
    read_record,
    state_at,
    wait_on_record,
)
from pytest_cnimigrate.observe.waiting import NotYet, Ready, WaitTimeout


@pytest.fixture
def api():
    with live_api() as api:
        yield api


@pytest.fixture
def kube(api, tmp_path):
    with make_client(api, tmp_path) as kube:
        yield kube


@pytest.fixture
def recorder(kube, tmp_path):
    with Recorder(kube.read_only(), tmp_path / "record", resources=(NODES, PODS)) as recorder:
        assert recorder.wait_synced(10)
        yield recorder


def node(name, **labels):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def cordon(kube, name):
    kube.patch(NODES, name, {"spec": {"unschedulable": True}})


def transitions(folder, kind="Node"):
    return [
        (line.operation, line.key, line.found_by)
        for line in read_record(folder)
        if isinstance(line, Transition) and line.kind == kind
    ]


def marks(folder, kind="Node"):
    return [
        (line.operation, line.relisted)
        for line in read_record(folder)
        if isinstance(line, Mark) and line.kind == kind
    ]


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("record")}


def test_what_is_there_and_what_happens_is_recorded(kube, tmp_path):
    kube.create(NODES, node("a"))
    with Recorder(kube.read_only(), tmp_path / "record", resources=(NODES,)) as recorder:
        assert recorder.wait_synced(10)
        kube.create(NODES, node("b"))
        cordon(kube, "b")
        kube.delete(NODES, "a")
        until(lambda: recorder.state.keys("Node") == ["b"])
    assert transitions(tmp_path / "record") == [
        ("added", "a", "start"),
        ("added", "b", "watch"),
        ("changed", "b", "watch"),
        ("removed", "a", "watch"),
    ]
    assert state_at(tmp_path / "record").get("Node", "b")["spec"]["unschedulable"] is True


def test_no_thread_is_left_and_stopping_twice_is_fine(kube, tmp_path):
    before = threads()
    recorder = Recorder(kube.read_only(), tmp_path / "record").start()
    assert recorder.wait_synced(10)
    assert len(threads() - before) > 5
    recorder.stop()
    recorder.stop()
    assert threads() == before
    assert not recorder.is_current(["Node"])


def test_a_recorder_that_never_started_can_be_stopped(kube, tmp_path):
    Recorder(kube.read_only(), tmp_path / "record").stop()


def test_a_lost_connection_is_a_gap_in_which_nothing_was_missed(api, kube, recorder):
    """The server still knows our place, so it tells what happened meanwhile."""
    kube.create(NODES, node("a"))
    until(lambda: recorder.state.count("Node") == 1)
    api.cut_off()
    until(lambda: "Node" in recorder.blind())
    assert not recorder.is_current(["Node"])
    api.do(lambda server: server.create(NODES, node("b")))
    api.come_back()
    until(lambda: recorder.state.count("Node") == 2)
    until(lambda: recorder.is_current(["Node"]))
    recorder.stop()
    assert marks(recorder.folder) == [("synced", False), ("gap", False), ("resumed", False)]
    assert transitions(recorder.folder)[-1] == ("added", "b", "watch")


def test_what_happened_in_a_gap_that_the_server_has_forgotten_is_found_by_list(api, kube, recorder):
    for name in ("a", "b"):
        kube.create(NODES, node(name))
    until(lambda: recorder.state.count("Node") == 2)
    api.cut_off()
    until(lambda: "Node" in recorder.blind())

    def meanwhile(server):
        server.delete(NODES, "a")
        server.create(NODES, node("c"))
        server.patch(NODES, "b", {"metadata": {"labels": {"x": "y"}}})
        server.store.table("nodes").compact()

    api.do(meanwhile)
    api.come_back()
    until(lambda: sorted(recorder.state.keys("Node")) == ["b", "c"])
    until(lambda: recorder.is_current(["Node"]))
    recorder.stop()
    assert ("resumed", True) in marks(recorder.folder)
    found = transitions(recorder.folder)[2:]
    assert sorted(found) == [("added", "c", "list"), ("changed", "b", "list"), ("removed", "a", "list")]


def test_a_kind_that_may_not_be_watched_stays_a_gap(kube, tmp_path):
    unknown = Resource("example.org", "v1", "things", "Thing")
    with Recorder(kube.read_only(), tmp_path / "record", resources=(NODES, unknown)) as recorder:
        until(lambda: "Thing" in recorder.blind())
        assert recorder.wait_synced(10, kinds=["Node"])
        assert not recorder.wait_synced(0)
    gap = next(line for line in read_record(tmp_path / "record") if line.kind == "Thing")
    assert gap.operation == "gap"
    assert "things" in gap.reason


def test_ciliums_resources_are_recorded_once_they_are_served(kube, tmp_path):
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ciliumnodes.cilium.io"},
        "spec": {
            "group": "cilium.io",
            "scope": "Cluster",
            "names": {"plural": "ciliumnodes", "singular": "ciliumnode", "kind": "CiliumNode"},
            "versions": [
                {
                    "name": "v2alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    },
                }
            ],
        },
    }
    with Recorder(kube.read_only(), tmp_path / "record", resources=()) as recorder:
        assert recorder.wait_synced(10)
        kube.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        assert recorder.wait_synced(10, kinds=["CiliumNode"])
        served = Resource("cilium.io", "v2alpha1", "ciliumnodes", "CiliumNode", namespaced=False)
        kube.create(
            served, {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumNode", "metadata": {"name": "n1"}}
        )
        until(lambda: recorder.state.count("CiliumNode"))
    assert transitions(tmp_path / "record", "CiliumNode") == [("added", "n1", "watch")]


def test_the_cloud_is_polled_and_a_poll_that_fails_is_a_gap(kube, tmp_path):
    desired, polled = [0], []

    def read():
        polled.append(True)
        if desired[0] == 1:
            raise OSError("the cloud does not answer")
        return [{"kind": "NodeGroup", "metadata": {"name": "ng"}, "desired": desired[0]}]

    poll = Poll("NodeGroup", read, 0.01)
    folder = tmp_path / "record"
    with Recorder(kube.read_only(), folder, resources=(), polls=[poll], custom_resources=False) as recorder:
        assert recorder.wait_synced(10)
        desired[0] = 1
        until(lambda: "NodeGroup" in recorder.blind())
        desired[0] = 3
        until(lambda: recorder.state.get("NodeGroup", "ng")["desired"] == 3)
    assert transitions(folder, "NodeGroup") == [("added", "ng", "start"), ("changed", "ng", "poll")]
    assert marks(folder, "NodeGroup") == [("synced", False), ("gap", False), ("resumed", True)]


def test_a_recorder_goes_on_where_the_one_before_it_ended(kube, tmp_path):
    folder = tmp_path / "record"
    kube.create(NODES, node("a"))
    with Recorder(kube.read_only(), folder, resources=(NODES,)) as first:
        assert first.wait_synced(10)
    kube.delete(NODES, "a")
    kube.create(NODES, node("b"))
    with Recorder(kube.read_only(), folder, resources=(NODES,)) as second:
        assert second.wait_synced(10)
    assert sorted(transitions(folder)[1:]) == [("added", "b", "list"), ("removed", "a", "list")]
    assert marks(folder) == [("synced", False), ("gap", False), ("resumed", True)]
    numbers = [line.number for line in read_record(folder)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_full_disk_ends_the_record_and_nothing_else(kube, tmp_path, monkeypatch):
    folder = tmp_path / "record"
    with Recorder(kube.read_only(), folder, resources=(NODES,)) as recorder:
        assert recorder.wait_synced(10)

        def fail():
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(recorder._writer, "flush", fail)
        kube.create(NODES, node("a"))
        until(lambda: recorder.failure)
        kube.create(NODES, node("b"))
        until(lambda: recorder.state.count("Node") == 2)
        monkeypatch.undo()
    assert "No space left" in recorder.failure
    assert transitions(folder) == []


def test_a_listener_that_fails_does_not_end_the_record(kube, recorder, caplog):
    heard = []

    def broken(line, state):
        raise ZeroDivisionError

    recorder.subscribe(broken)
    end = recorder.subscribe(lambda line, state: heard.append((line.key, state.count("Node"))))
    kube.create(NODES, node("a"))
    until(lambda: heard == [("a", 1)])
    end()
    kube.create(NODES, node("b"))
    until(lambda: recorder.state.count("Node") == 2)
    assert heard == [("a", 1)]
    assert [record.message for record in caplog.records if "listener" in record.message] != []


def is_cordoned(obj):
    return Ready(obj["metadata"]["name"]) if obj["spec"].get("unschedulable") else NotYet("not cordoned")


def test_a_gate_opens_at_once_and_after_one_question_to_the_server(api, kube, recorder):
    kube.create(NODES, node("a"))
    until(lambda: recorder.state.count("Node"))
    looked = threading.Event()

    def look(state):
        looked.set()
        return is_cordoned(state.get("Node", "a"))

    def change():
        looked.wait(10)
        cordon(kube, "a")

    changer = threading.Thread(target=change)
    asked = api.requests("get", "nodes")
    begun = time.monotonic()
    changer.start()
    found = wait_on_record(
        recorder,
        look,
        lambda: is_cordoned(kube.get(NODES, "a")),
        kinds=["Node"],
        what="the cordon",
        timeout=20,
        interval=15,
    )
    changer.join()
    assert found == "a"
    assert time.monotonic() - begun < 10, "the gate was not woken, it looked by itself"
    assert api.requests("get", "nodes") == asked + 1


def test_a_gate_does_not_open_on_the_record_alone(kube, recorder):
    """The record may still hold the state from before a change that the gate waits for."""
    kube.create(NODES, node("a"))
    until(lambda: recorder.state.count("Node"))
    with pytest.raises(WaitTimeout, match="the server does not say so"):
        wait_on_record(
            recorder,
            lambda state: Ready(None),
            lambda: NotYet("the server does not say so"),
            kinds=["Node"],
            what="anything",
            timeout=0.05,
        )


def test_while_the_record_has_a_gap_the_server_alone_is_asked(api, kube, recorder):
    kube.create(NODES, node("a"))
    until(lambda: recorder.state.count("Node"))
    api.cut_off()
    until(lambda: "Node" in recorder.blind())
    looked = []
    found = wait_on_record(
        recorder,
        lambda state: looked.append(True) or NotYet("an old state"),
        lambda: Ready("from the server"),
        kinds=["Node"],
        what="anything",
        timeout=5,
    )
    assert (found, looked) == ("from the server", [])
    api.come_back()


def test_only_what_a_gate_waits_for_wakes_it(kube, recorder):
    with recorder.wake("Pod") as pods, recorder.wake("Node") as nodes:
        kube.create(NODES, node("a"))
        assert nodes.wait(10)
        assert not pods.wait(0)
        nodes.clear()
        assert not nodes.wait(0)
    kube.create(NODES, node("b"))
    until(lambda: recorder.state.count("Node") == 2)
    assert not nodes.wait(0)
