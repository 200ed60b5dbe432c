"""Interlaced films: each frame holds two moments, in its even and its odd rows; FFmpeg's filter makes one of them."""

from typing import TYPE_CHECKING, Any, Final

from service.archive.film_pixels import as_planes, is_rgb

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame

FILTER: Final = ("bwdif", "mode=send_frame:deint=interlaced")
"""Missing rows are guessed from those above, below, before and after; frames that say they are whole stay so."""


class Deinterlacer:
    """Makes whole frames; those of the last moments come when it is asked to give what it still holds."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._kind: tuple[Any, ...] = ()

    def frames_of(self, frame: "VideoFrame") -> "list[VideoFrame]":
        """Take one frame, and return those that are ready; their times are in their own time base."""
        whole = frame if is_rgb(frame) else as_planes(frame, filtered=True)
        kind = (whole.width, whole.height, whole.format.name)
        ready = [] if kind == self._kind else self.rest()
        if self._graph is None:
            self._graph, self._kind = _make_graph(whole), kind
        self._graph.push(whole)
        return ready + _pull(self._graph)

    def rest(self) -> "list[VideoFrame]":
        """Return the frames that it still holds."""
        graph, self._graph = self._graph, None
        if graph is None:
            return []
        graph.push(None)
        return _pull(graph)


def _make_graph(frame: "VideoFrame") -> "Graph":
    from av.filter import Graph

    graph = Graph()
    base: Any = frame.time_base
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    graph.link_nodes(source, graph.add(*FILTER), graph.add("buffersink")).configure()
    return graph


def _pull(graph: "Graph") -> "list[VideoFrame]":
    import av

    frames: list[Any] = []
    while True:
        try:
            frames.append(graph.pull())
        except (av.BlockingIOError, av.EOFError):
            return frames
