"""The record of a run: every transition of the objects that matter, in memory and on disk."""

from pytest_cnimigrate.observe.record.differences import ABSENT, FieldChange
from pytest_cnimigrate.observe.record.lines import Line, Mark, Transition
from pytest_cnimigrate.observe.record.reading import RecordError, read_record, replay, state_at
from pytest_cnimigrate.observe.record.reads import StateReads
from pytest_cnimigrate.observe.record.recorder import Recorder
from pytest_cnimigrate.observe.record.sources import RECORDED, Poll
from pytest_cnimigrate.observe.record.state import BY_NAMESPACE, BY_NODE, BY_OWNER, Index, State
from pytest_cnimigrate.observe.record.waking import RecordWake, confirmed, wait_on_record

__all__ = [
    "Recorder",
    "Poll",
    "RECORDED",
    "RecordWake",
    "confirmed",
    "wait_on_record",
    "read_record",
    "replay",
    "state_at",
    "RecordError",
    "Line",
    "Transition",
    "Mark",
    "FieldChange",
    "ABSENT",
    "State",
    "StateReads",
    "Index",
    "BY_NODE",
    "BY_OWNER",
    "BY_NAMESPACE",
]
