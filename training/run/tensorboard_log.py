"""Scalars and previews for TensorBoard, written by TensorBoard's own record writer: no TensorFlow needed.

Each start of a run writes a file of its own. Its first record says at which step it starts; TensorBoard then forgets
what an earlier, killed start wrote after that step.
"""

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import cv2
import numpy as np

from training.whole_files import cannot_write

VERSION: Final = "brain.Event:2"


class TensorBoardLog:
    """A file of events in a folder; made with the first event."""

    def __init__(self, folder: Path, start: int) -> None:
        """Prepare a log.

        Args:
            folder: of the events, made if missing.
            start: step at which the run starts, or goes on.
        """
        self._folder, self._start = folder, start
        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._file: Any = None

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add numbers.

        Args:
            step: steps done.
            values: by tag; None is left out.

        Raises:
            RunFolderError: the disk refuses.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        known = {tag: value for tag, value in values.items() if value is not None}
        self._add(step, Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in known.items()]))

    def picture(self, step: int, tag: str, rgb_u8: np.ndarray) -> None:
        """Add a picture; as JPEG, since the checksum of a record is computed byte by byte in Python.

        Args:
            step: steps done.
            tag: name of the picture.
            rgb_u8: RGB, uint8, (H, W, 3).

        Raises:
            RunFolderError: the disk refuses.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        jpeg = cv2.imencode(".jpg", np.ascontiguousarray(rgb_u8[..., ::-1]))[1].tobytes()
        height, width = rgb_u8.shape[:2]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=jpeg)
        self._add(step, Summary(value=[Summary.Value(tag=tag, image=image)]))

    def close(self) -> None:
        """Close the file, if one was made."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add(self, step: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
                self._write(Event(wall_time=time.time(), file_version=VERSION))
                start = SessionLog(status=SessionLog.START)
                # Records of this step itself belong to what was kept.
                self._write(Event(wall_time=time.time(), step=self._start + 1, session_log=start))
            self._write(Event(wall_time=time.time(), step=step, summary=summary))
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        RecordWriter(self._file).write(event.SerializeToString())
