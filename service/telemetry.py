"""What the service measures of itself: metrics, stage timings and spans.

Spans are OpenTelemetry's: inside FastAPI's own span of a request there is one a stage. Without a tracer provider, which
`FASTAPI_OTEL_AUTO_CONFIGURE=true` makes, they cost next to nothing.

Every label takes its values from a closed set; nothing a caller sends becomes one.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

from opentelemetry import trace
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

Stage = Literal["read", "probe", "admit", "decode", "queue", "infer", "merge", "encode"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
"""The steps of one request, in order."""

EvictionReason = Literal["room", "age"]

Reloadable = Literal["keys", "model"]
"""What may be read again while the service serves."""

LossReason = Literal["time", "crash", "killed"]
"""Why a decoding process was lost: over its time, by a decoder's fault, or ended by somebody else."""

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MEGAPIXEL_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2, 5, 12, 25, 50, 100)
BYTES_BUCKETS: Final = tuple(2.0**power for power in range(12, 28, 2))
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)

TRACER: Final = trace.get_tracer("photochrom")


class Stages:
    """How long each stage of one request took, and which one it is in.

    Attributes:
        seconds: by stage, in the order they were entered.
        current: the stage it is in, or was in last.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.seconds: dict[Stage, float] = {}
        self.current: Stage = STAGES[0]

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Time what is inside, also when it fails.

        Args:
            stage: which one.

        Yields:
            Nothing.
        """
        self.current = stage
        started = time.perf_counter()
        try:
            with TRACER.start_as_current_span(stage):
                yield
        finally:
            # Of several pictures in one answer each goes through a stage.
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    @contextmanager
    def overlapping(self, *stages: Stage) -> Iterator[None]:
        """Let stages run side by side: together they count as the time that passes.

        Args:
            *stages: those that overlap.

        Yields:
            Nothing.
        """
        before = {stage: self.seconds.get(stage, 0.0) for stage in stages}
        started = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - started
            spent = {stage: self.seconds[stage] - before[stage] for stage in stages if stage in self.seconds}
            too_much = max(sum(spent.values()) / passed, 1.0)
            for stage, seconds in spent.items():
                self.seconds[stage] = before[stage] + seconds / too_much

    def enter(self, stage: Stage) -> None:
        """Note that a stage begins which is timed elsewhere.

        Args:
            stage: which one.
        """
        self.current = stage

    def add(self, stage: Stage, seconds: float, *, ago_s: float = 0.0) -> None:
        """Note a stage that was timed elsewhere.

        Args:
            stage: which one.
            seconds: how long it took.
            ago_s: how long ago it ended, seconds.
        """
        self.current = stage
        self.seconds[stage] = seconds
        end_ns = time.time_ns() - round(1e9 * ago_s)
        TRACER.start_span(stage, start_time=end_ns - round(1e9 * seconds)).end(end_ns)

    def server_timing(self) -> str:
        """Return the value of a ``Server-Timing`` header: milliseconds, one entry a stage."""
        return ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in self.seconds.items())


class Metrics:
    """The Prometheus families of one application, in a registry of its own."""

    def __init__(self) -> None:
        """Create every family, so that each is there from the first scrape on."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # A creation time beside each series doubles the page and tells nothing.
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Answers by route and status.", "route", "code")
        self.request_duration = self._histogram("request_duration_seconds", "Whole request.", SECONDS_BUCKETS, "route")
        self.stage_duration = self._histogram("stage_duration_seconds", "One stage.", SECONDS_BUCKETS, "stage")
        self.batch_size = self._histogram("batch_size", "Pictures in one inference.", BATCH_BUCKETS)
        self.queue_depth = self._gauge("queue_depth", "Pictures that wait for the inference thread.")
        self.waiting_requests = self._gauge("waiting_requests", "Requests that wait to be admitted.")
        self.inflight_megapixels = self._gauge("inflight_megapixels", "Megapixels worked on.")
        self.held_bytes = self._gauge("held_bytes", "Bytes of uploads and answers in memory.")
        self.spooled_bytes = self._gauge("spooled_bytes", "Bytes of uploads and answers on the disk.")
        self.kept_pictures = self._gauge("kept_pictures", "Pictures kept to be decoded again.")
        self.kept_bytes = self._gauge("kept_bytes", "Bytes of kept pictures.")
        self.kept_hits = self._counter("kept_hits", "Requests for a picture that was kept.")
        self.kept_misses = self._counter("kept_misses", "Requests for a picture that was not, or not any more.")
        self.kept_evictions = self._counter(
            "kept_evictions", "Kept pictures that were let go: for want of room, or of age.", "reason"
        )
        self.lost_workers = self._counter(
            "lost_workers", "Processes that decoded a picture and had to end: time, crash or killed.", "reason"
        )
        self.reloads = self._counter("reloads", "Keys and models taken up anew, or refused.", "what", "outcome")
        self.rejected = self._counter("rejected", "Requests refused, by the name of the problem.", "reason")
        self.cancelled = self._counter("cancelled", "Requests whose client left, by stage.", "where")
        self.slow = self._counter("slow", "Requests that ended because the caller sent or took too little.")
        self.late = self._counter("late", "Requests that were not done in time, by stage.", "where")
        self.input_megapixels = self._histogram("input_megapixels", "Pictures that came in.", MEGAPIXEL_BUCKETS)
        self.output_bytes = self._histogram("output_bytes", "Pictures that went out.", BYTES_BUCKETS)
        self.model_info = self._gauge(
            "model_info", "The loaded model; always 1.", "name", "digest", "provider", "ort", "precision"
        )
        self.ready = self._gauge("ready", "1 while the service takes pictures.")
        for stage in STAGES:
            self.stage_duration.labels(stage)
            self.cancelled.labels(stage)
            self.late.labels(stage)
        for what in get_args(Reloadable):
            for outcome in ("done", "refused"):
                self.reloads.labels(what, outcome)
        for loss in get_args(LossReason):
            self.lost_workers.labels(loss)
        for reason in get_args(EvictionReason):
            self.kept_evictions.labels(reason)

    def exposition(self) -> bytes:
        """Return all metrics as Prometheus text."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"photochrom_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"photochrom_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"photochrom_{name}", text, labels, buckets=buckets, registry=self.registry)
