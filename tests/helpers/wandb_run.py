"""What stands for a run of W&B, and what an offline run has kept on disk."""

import json
import time
from pathlib import Path
from typing import NamedTuple

from wandb.proto.wandb_internal_pb2 import Record


class FakeConfig(dict):
    """Takes values that change, as a run's config does when it is allowed to."""

    def update(self, values, allow_val_change=False):
        assert allow_val_change
        super().update(values)


class FakeRun:
    """Takes what a W&B run takes."""

    id = "abc"

    def __init__(self, offline=True):
        self.logged, self.artifacts, self.alerts, self.summary = [], [], [], {}
        self.config, self.used, self.offline = FakeConfig(), [], offline

    def log(self, values, **_):
        self.logged.append(values)

    def alert(self, title, text):
        self.alerts.append(title)

    def log_artifact(self, artifact):
        self.artifacts.append(artifact)

    def finish(self, exit_code=0):
        """Nothing is left to send."""

    def use_artifact(self, artifact):
        assert not self.offline
        self.used.append(artifact)


BLOCK, HEAD, FILE_HEAD = 32768, 7, 7
"""Bytes of a block of the log (LevelDB's format), of a piece's head, and of the file's head."""


class OfflineRun(NamedTuple):
    """What an offline run would upload."""

    config: dict
    history: list[dict]
    summary: dict
    artifacts: dict[str, list[str]]
    """Paths by the artifact's name."""
    settings: Record


def read_offline(folder: Path) -> OfflineRun:
    """The content of ``offline-run-*``."""
    config, history, summary, artifacts, settings = {}, [], {}, {}, Record()
    for record in _whole(folder):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            settings = record
            config |= _values(record.run.config.update)
        elif kind == "config":
            config |= _values(record.config.update)
        elif kind == "history":
            history.append(_values(record.history.item))
        elif kind == "summary":
            summary |= _values(record.summary.update)
        elif kind == "artifact":
            paths = [entry.path for entry in record.artifact.manifest.contents]
            artifacts[record.artifact.name] = paths
    return OfflineRun(config, history, summary, artifacts, settings)


def _whole(folder: Path) -> list[Record]:
    """Records of a run up to its end, which W&B's service writes a little after it."""
    (path,) = folder.glob("run-*.wandb")
    for _ in range(200):
        records = [Record.FromString(data) for data in _records(path.read_bytes())]
        if records and records[-1].HasField("exit"):
            return records
        time.sleep(0.05)
    raise AssertionError(f"{path} has no end")


def _values(items) -> dict:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(stored: bytes):
    """Records of a log: pieces of checksum, length and kind, none across the end of a block."""
    place, whole = FILE_HEAD, b""
    while place + HEAD <= len(stored):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        length = int.from_bytes(stored[place + 4 : place + 6], "little")
        kind = stored[place + 6]
        whole += stored[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""
