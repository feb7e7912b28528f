"""TensorBoard: event files in the run's folder. ``tensorboard --logdir runs`` shows all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evengrad.recording.trackers.sink import FindingText

PACKAGE = "tensorboard"


def start(folder: Path | None, name: str, config: dict[str, Any]) -> TensorBoardSink:
    """A folder of event files."""
    return TensorBoardSink((folder or Path("runs") / name) / "tensorboard", config)


class TensorBoardSink:
    """Scalars, and events and findings as text."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))
        self._text(0, "evengrad/run", "\n".join(f"    {k}: {v}" for k, v in config.items()))

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """See Sink."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        rows = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step, Summary(value=rows))

    def event(self, step: int, kind: str, text: str) -> None:
        """See Sink."""
        self._text(step, f"evengrad/{kind}", f"step {step}: {text}")

    def close(self, findings: Sequence[FindingText], status: str) -> None:
        """See Sink."""
        for place, finding in enumerate(findings):
            self._text(place, "evengrad/findings", "    " + finding.text.replace("\n", "\n    "))
        self._text(0, "evengrad/status", f"{status}, {len(findings)} findings")
        self._writer.close()

    def _text(self, step: int, tag: str, text: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

        content = TextPluginData(version=0).SerializeToString()
        plugin = SummaryMetadata.PluginData(plugin_name="text", content=content)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
        metadata = SummaryMetadata(plugin_data=plugin)
        row = Summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)
        self._add(step, Summary(value=[row]))

    def _add(self, step: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as FileEvent

        self._writer.add_event(FileEvent(wall_time=time.time(), step=step, summary=summary))
