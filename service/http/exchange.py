"""One request and its answer, seen from outside: what of them is in memory, and how fast they come and go."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from service.engine.byte_budget import GRACE_S, MOST_S, ByteBudget, Reservation, Transfer
from service.engine.outlet import Outlet
from service.engine.spool import Incoming
from service.errors import MalformedRequest, UploadTooSlow
from service.http.problems import SECURITY_HEADERS
from service.logs import request_id

DROPPED_BYTES: Final = 1 << 20
"""What is left of a refused upload is read and dropped up to this; of a larger one the connection ends."""

LINGER_S: Final = 2.0
"""How long a connection that ends still listens, so that the caller gets to read the answer (RFC 9112, section 9.6)."""

PIECE_BYTES: Final = 1 << 18
"""Answers are handed over in pieces of this size. Those that are one piece are not counted: they leave at once."""

ABORT_KEY: Final = "photochrom.abort"
"""Where a connection's scope holds the function that breaks it; other servers than ours have none."""


class Exchange:
    """One request and its answer; parts from the caller well.

    Attributes:
        reservation: what it holds in memory.
        status: of the answer; 0 before there is one.
        answered: `time.perf_counter` of when the answer had been handed over; None before.
        was_slow: whether it ended because the caller sent or took too little.
        is_in_parts: whether the answer comes in parts, and has begun.
        can_break: whether the connection can be broken from here.
    """

    def __init__(self, budget: ByteBudget, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin with its head."""
        headers = Headers(scope=scope)
        self.reservation = Reservation(budget)
        self._abort: Callable[[], None] = scope.get(ABORT_KEY, self._end_sending)
        self.can_break = ABORT_KEY in scope
        # Of an answer whose length nobody knows the caller must see where it broke off.
        self._takes_parts = self.can_break and scope["http_version"] != "1.0"
        self._outlet: Outlet | None = None
        self._transfer = Transfer(self.cut, lambda: self.reservation.count)
        self._sending: asyncio.Timeout | None = None
        self.status = 0
        self.answered: float | None = None
        self.was_slow = self.is_in_parts = False
        self._receive = receive
        self._send = send
        length = headers.get("content-length", "")
        chunked = "transfer-encoding" in headers
        self._conflicts = chunked and bool(length)
        self._announced = math.inf if chunked else int(length) if length.isdecimal() else 0
        self._grace_s = GRACE_S if budget.limits.least_rate else MOST_S
        self._received = 0
        self._is_read = self._announced == 0
        self._closes = False
        self._head: Message | None = None

    def check_announced(self) -> None:
        """Refuse an upload that says it is too large, before a byte of it is read.

        Raises:
            MalformedRequest: two headers contradict each other about its length.
            UploadTooLarge: it says it is too large.
            Overloaded: there is no room for it, in memory or on the disk.
        """
        if self._conflicts:
            # Whoever stands in between may have taken the other for the end of this request (RFC 9112, section 6.1).
            raise MalformedRequest("Content-Length and Transfer-Encoding contradict each other: send one of them.")
        if self._announced < math.inf:
            self.reservation.budget.check_upload(int(self._announced))

    def incoming(self) -> Incoming:
        """Return a place for a file that comes with it."""
        announced = 0 if self._announced == math.inf else self._announced
        return Incoming(self.reservation.budget.spool, self.reservation.unload, announced)

    def outlet(self) -> Outlet:
        """Return a way out for a picture that may be large."""
        self._outlet = Outlet(self.reservation.reserve, self.reservation.budget.spool, takes_parts=self._takes_parts)
        return self._outlet

    def close(self) -> None:
        """Let go of what its answer holds."""
        if self._outlet is not None:
            self._outlet.close()
        self.reservation.release()

    async def receive(self) -> Message:
        """Take a part of the upload, or refuse to: one that is too large may have been announced as a smaller one.

        Raises:
            UploadTooLarge: more has come than may.
            UploadTooSlow: less has come than must.
            Overloaded: there is no room for it in memory.
        """
        message = await (self._receive() if self._is_read else self._receive_in_time())
        if message["type"] == "http.request":
            new = len(message.get("body", b""))
            self._received += new
            self._is_read = not message.get("more_body", False)
            budget = self.reservation.budget
            budget.limits.sizes.check_bytes(self._received)
            budget.check(new)
            self.reservation.add(new)
        return message

    async def _receive_in_time(self) -> Message:
        """Take a part; whoever has sent much may pause no longer for that, and only the time that it takes counts."""
        least_rate = self.reservation.budget.limits.least_rate
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), self._grace_s)
            self._grace_s -= time.monotonic() - began
            if least_rate:
                new = len(message.get("body", b""))
                self._grace_s = min(max(self._grace_s, 0) + new / least_rate, GRACE_S)
            return message
        except TimeoutError:
            self.was_slow = True
            raise UploadTooSlow(
                f"The upload comes with less than {least_rate} bytes a second.", limit=least_rate, unit="bytes/s"
            ) from None

    async def send(self, message: Message) -> None:
        """Hand over a part of the answer: a large one in pieces, so that a caller who takes none can be left.

        Raises:
            Overloaded: it is large, and there is no room for it in memory; nothing of it was sent.
        """
        if message["type"] == "http.response.start":
            self._head = message
            return
        body, is_last = memoryview(message.get("body", b"")), not message.get("more_body", False)
        self.is_in_parts = self.is_in_parts or not is_last
        # Whoever gives an answer in parts has them counted.
        if not self.is_in_parts and (len(body) > PIECE_BYTES or self.reservation.is_pending):
            self.reservation.commit(len(body))
        if self._head is not None:
            head, self._head = self._head, None
            self._start(head)
            await self._send(head)
        waits = is_last and self._closes
        with self.reservation.budget.watch(self._transfer, len(body)):
            async with asyncio.timeout(None) as self._sending:
                await self._hand_over(message["type"], body, more=waits or not is_last)
        if is_last:
            self.answered = time.perf_counter()
        if waits:
            await self._linger()
            await self._send({"type": message["type"], "body": b"", "more_body": False})

    async def _hand_over(self, kind: str, body: memoryview, *, more: bool) -> None:
        while len(body) > PIECE_BYTES:
            await self._send({"type": kind, "body": self._piece(body[:PIECE_BYTES]), "more_body": True})
            self._transfer.note(PIECE_BYTES)
            body = body[PIECE_BYTES:]
        await self._send({"type": kind, "body": self._piece(body), "more_body": more})
        self._transfer.note(len(body))

    def _piece(self, body: memoryview) -> bytes | memoryview:
        """Return a piece as the server takes it: other servers than ours may want bytes, which are a copy."""
        return body if self.can_break else bytes(body)

    async def break_off(self) -> None:
        """Break the connection in the middle of an answer, so that nobody takes what there is for all of it."""
        self._abort()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        answer = MutableHeaders(scope=message)
        answer["X-Request-ID"] = request_id.get()
        for name, value in SECURITY_HEADERS.items():
            answer.setdefault(name, value)
        # The server reads and drops what is left of an upload to use the connection again: not for any price.
        self._closes = self._conflicts or (not self._is_read and self._announced - self._received > DROPPED_BYTES)
        if self._closes:
            answer["Connection"] = "close"

    async def _linger(self) -> None:
        """Drop what still comes for a moment: closing on unread bytes could cost the caller the answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._is_read:
                    message = await self._receive()
                    self._is_read = not message.get("more_body", False)

    def cut(self) -> None:
        """Break the connection, since the caller takes too little."""
        if not self.was_slow:
            self.was_slow = True
            self.reservation.release()
            self._abort()

    def _end_sending(self) -> None:
        """Have the server break the connection, where it is none of ours: the error that `send` raises does."""
        if self._sending is not None:
            self._sending.reschedule(asyncio.get_running_loop().time())
