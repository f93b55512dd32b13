"""What changed is told path by path, and can be put back in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_cnimigrate.observe.record.differences import ABSENT, FieldChange, differences, in_words, patched

keys = st.text(alphabet="ab/~.", max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(alphabet="xy", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(keys, values, max_size=5)


@given(objects, objects)
def test_the_changes_make_the_new_state_of_the_old_one(old, new):
    assert patched(old, differences(old, new)) == new


@given(objects, objects)
def test_changes_survive_being_written_down(old, new):
    changes = differences(old, new)
    assert tuple(FieldChange.from_json(change.as_json()) for change in changes) == changes


def test_only_what_changed_is_told():
    old = {"spec": {"a": 1, "b": [1, 2]}, "status": {"phase": "Pending"}}
    new = {"spec": {"a": 1, "b": [1, 2]}, "status": {"phase": "Running", "podIP": "10.0.0.1"}}
    assert differences(old, new) == (
        FieldChange("/status/phase", "Pending", "Running"),
        FieldChange("/status/podIP", ABSENT, "10.0.0.1"),
    )


def test_one_of_several_conditions_is_told_by_itself_and_by_its_name():
    old = {
        "status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Disk", "status": "True"}]}
    }
    new = {
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk", "status": "True"}]}
    }
    changes = differences(old, new)
    assert changes == (FieldChange("/status/conditions/0/status", "False", "True"),)
    assert in_words(changes, new) == 'status.conditions[Ready].status: "False" → "True"'


def test_a_taint_taken_from_the_front_does_not_look_like_a_change_of_the_others():
    old = {"taints": [{"key": "a"}, {"key": "b"}, {"key": "c"}]}
    new = {"taints": [{"key": "b"}, {"key": "c"}]}
    assert [change.path for change in differences(old, new)] == ["/taints"]


def test_a_null_is_not_the_same_as_nothing():
    assert differences({"a": None}, {}) == (FieldChange("/a", None, ABSENT),)
    assert patched({"a": None}, differences({"a": None}, {})) == {}


def test_the_old_state_is_left_alone():
    old = {"a": [1], "b": {"c": 1}}
    patched(old, differences(old, {"a": [1, 2], "b": {}}))
    assert old == {"a": [1], "b": {"c": 1}}


def test_many_changes_are_summed_up_for_people():
    changes = [FieldChange(f"/metadata/labels/x~1{index}", 0, 1) for index in range(6)]
    text = in_words(changes, None)
    assert text.startswith("metadata.labels[x/0]: 0 → 1")
    assert text.endswith("and 2 more")
