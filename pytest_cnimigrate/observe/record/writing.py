"""A record on disk: lines appended to a file, which is compressed once it is large and another has begun.

<folder>/record-000001.jsonl.gz  record-000002.jsonl.gz  record-000003.jsonl
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

ROTATE_BYTES = 32 * 1024 * 1024
"""A file of a record is closed at this size: some 30,000 transitions, 2 to 3 MB when compressed."""
_BUFFER_BYTES = 256 * 1024
_STEP_BYTES = 128 * 1024
"""What is compressed at a time: about 1.5 ms, so that whoever waits for a transition does not notice."""
_NAME = re.compile(r"record-(\d{6})\.jsonl(\.gz)?")


def record_files(folder: Path) -> list[Path]:
    """The files of a record, oldest first. A file that was compressed but not yet removed counts once."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("record-*.jsonl*")):
        match = _NAME.fullmatch(path.name)
        # Sorted, the plain file comes first and is the one that is certainly whole.
        if match is not None:
            found.setdefault(int(match[1]), path)
    return [found[number] for number in sorted(found)]


class RecordWriter:
    """Appends to the record in a folder, after what is there. One thread uses it.

    Raises `OSError` when it cannot write.
    """

    def __init__(self, folder: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._compression: _Compression | None = None
        self._to_compress: list[Path] = []
        existing = record_files(folder)
        # A new file of its own: the last line of the one before may have been cut off.
        self._to_compress += [path for path in existing if path.suffix != ".gz"]
        number = int(existing[-1].name[7:13]) if existing else 0
        self._open(number + 1)

    def append(self, line: bytes) -> None:
        """Add a line (without its end); it is on its way to the disk at the latest after `flush`."""
        self._pending.append(line)
        self._pending_bytes += len(line) + 1
        if self._pending_bytes >= min(_BUFFER_BYTES, self._rotate_bytes):
            self.flush()

    def flush(self) -> None:
        """Hand over to the operating system what has been added."""
        if not self._pending:
            return
        data = b"\n".join([*self._pending, b""])
        self._pending.clear()
        self._pending_bytes = 0
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._size += len(data)
        if self._size >= self._rotate_bytes:
            self._file.close()
            self._to_compress.append(self._path)
            self._open(int(self._path.name[7:13]) + 1)

    def compress_some(self) -> bool:
        """Compress a little of what is closed; whether there is more to do. For when nothing else is."""
        if self._compression is None:
            if not self._to_compress:
                return False
            self._compression = _Compression(self._to_compress.pop(0))
        if self._compression.step():
            self._compression = None
        return self._compression is not None or bool(self._to_compress)

    def close(self) -> None:
        """Write what is left and compress what is closed; the file in use stays as it is."""
        try:
            self.flush()
            os.fsync(self._file.fileno())
            while self.compress_some():
                pass
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the files without writing what is left."""
        self._file.close()
        if self._compression is not None:
            self._compression.abandon()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, number: int) -> None:
        self._path = self._folder / f"record-{number:06}.jsonl"
        descriptor = os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._size = 0


class _Compression:
    """One file on its way to being a compressed one, step by step."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._target = source.with_name(f"{source.name}.gz")
        self._draft = source.with_name(f"{source.name}.gz.new")
        self._input: BinaryIO = source.open("rb")
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._output: BinaryIO = os.fdopen(descriptor, "wb")
        # 31: a gzip header and trailer around the largest window.
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, 31)

    def step(self) -> bool:
        """Compress the next piece; whether the whole file has been replaced."""
        piece = self._input.read(_STEP_BYTES)
        if piece:
            self._output.write(self._compressor.compress(piece))
            return False
        self._output.write(self._compressor.flush())
        self._output.flush()
        os.fsync(self._output.fileno())
        self.abandon()
        self._draft.replace(self._target)
        self._source.unlink()
        return True

    def abandon(self) -> None:
        self._input.close()
        self._output.close()
