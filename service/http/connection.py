"""The connection below the guard: what uvicorn would wait for without end, or answer in words of its own.

Whoever sends no whole head of a request, or takes nothing of an answer, is left after a while; what is no HTTP is
answered with a problem, as everything else is.
"""

import asyncio
import fcntl
import termios
import uuid
from array import array
from contextlib import suppress
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.errors import MalformedRequest
from service.http.exchange import ABORT_KEY
from service.http.problems import PROBLEM_TYPE, SECURITY_HEADERS, problem_of

HEAD_S: Final = 15.0
"""How long a caller may take for the head of a request, and for the rest of an upload that was refused."""

STALL_S: Final = 30.0
"""How long a caller may take nothing of an answer."""


LINGER_S: Final = 1.0
"""How long a connection that made no sense stays, unread."""

PARTS_A_TURN: Final = 64
"""So many parts of a body are taken before others have their turn: each costs the event loop time, however small."""

FREE_PARTS: Final = 32
"""A body may come in so many parts, however small..."""

LEAST_PART_BYTES: Final = 64
"""...and in more only if they hold as many bytes on average: else they cost more than they carry."""


class _Parts(h11.Connection):
    """Reads HTTP, and counts the parts that a body comes in.

    Attributes:
        left: parts that may still be taken in this turn.
        has_more: the turn ended before what was received.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.left = PARTS_A_TURN
        self.has_more = False
        self._parts = self._bytes = 0

    def next_event(self) -> Any:
        """Return the next event; none once the turn is over.

        Raises:
            RemoteProtocolError: this is no HTTP, or the parts of the body are too small.
        """
        if not self.left:
            self.has_more = True
            return h11.NEED_DATA
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._parts = self._bytes = 0
        elif isinstance(event, h11.Data):
            self.left -= 1
            # A chunk that came in two reads counts when all of it is there.
            self._parts += event.chunk_end or not event.chunk_start
            self._bytes += len(event.data)
            if self._parts > FREE_PARTS and self._bytes < LEAST_PART_BYTES * self._parts:
                raise h11.RemoteProtocolError("the body comes in parts that are too small")
        return event


class Connection(H11Protocol):
    """One caller's connection."""

    conn: _Parts

    def __init__(self, config: Config, *given: Any, **named: Any) -> None:
        """Prepare to read, as uvicorn does; see there for the arguments."""
        super().__init__(config, *given, **named)
        limit = config.h11_max_incomplete_event_size
        self.conn = _Parts(h11.SERVER, *([] if limit is None else [limit]))

    _next_turn: asyncio.Handle | None = None
    _is_over = False
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a first request."""
        super().connection_made(transport)
        self._await_head(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait for anything."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._stall_timer):
            if timer:
                timer.cancel()

    def handle_events(self) -> None:
        """Take what has come, in turns."""
        if self._next_turn or self._is_over:
            return
        self.conn.left, self.conn.has_more = PARTS_A_TURN, False
        super().handle_events()
        if self.scope is not None:  # Its task starts in the loop's next turn.
            self.scope[ABORT_KEY] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        if self.conn.has_more and not self._is_over:
            self.flow.pause_reading()
            self._next_turn = self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next_turn = None
        if not self.transport.is_closing():
            self.flow.resume_reading()  # Whoever has enough to read will say so again.
            self.handle_events()

    def on_response_complete(self) -> None:
        """Start to wait for the next request."""
        if not self.transport.is_closing():
            self._await_head(self.cycle)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the caller takes less than it gets."""
        super().pause_writing()
        self._watch_stall(self._left_to_send())

    def resume_writing(self) -> None:
        """Note that the caller has taken what there was."""
        super().resume_writing()
        if self._stall_timer:
            self._stall_timer.cancel()

    def _watch_stall(self, before: int) -> None:
        self._stall_timer = self.loop.call_later(STALL_S, self._leave_if_stalled, before)

    def _leave_if_stalled(self, before: int) -> None:
        """Break the connection if nothing was taken; buffers are large, and writing resumes long after some was."""
        left = self._left_to_send()
        if left < before:
            self._watch_stall(left)
        else:
            self.transport.abort()

    def _left_to_send(self) -> int:
        """Return how many bytes the caller has not taken: ours, and where it can be asked those of the kernel."""
        left = self.transport.get_write_buffer_size()
        queued = array("i", [0])
        with suppress(OSError, AttributeError):
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        return left + queued[0]

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that nothing comes over; with force where the end of an answer is never taken."""
        super().timeout_keep_alive_handler()
        self._watch_stall(self._left_to_send())

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close.

        Args:
            msg: what uvicorn would say.
        """
        self._is_over = True
        cycle: Any = self.cycle  # None before the first request.
        if cycle is None or not cycle.response_started or cycle.response_complete:
            error = MalformedRequest(msg)
            problem = problem_of(error, uuid.uuid4().hex)
            body = problem.model_dump_json()
            headers = SECURITY_HEADERS | {
                "Content-Type": PROBLEM_TYPE,
                "Content-Length": str(len(body)),
                "X-Request-ID": problem.request_id,
                "Connection": "close",
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(f"HTTP/1.1 {error.status} Bad Request\r\n{head}\r\n{body}".encode("ascii"))
        if cycle is not None:  # Whatever the application still says is for nobody.
            cycle.disconnected, cycle.waiting_for_100_continue = True, False
            cycle.message_event.set()
        # Whoever sends such things would be back at once: for a moment nothing is read of the connection.
        with suppress(OSError, NotImplementedError):  # It may have gone, or speak TLS.
            self.transport.write_eof()
        self.transport.pause_reading()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _await_head(self, last: Any) -> None:
        """Leave the caller when no request has followed the last one for too long."""
        if self._head_timer:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(HEAD_S, self._leave_without_head, last)

    def _leave_without_head(self, last: Any) -> None:
        if self.cycle is last:
            self.timeout_keep_alive_handler()  # Not at once: the end of an answer may still be on its way.
