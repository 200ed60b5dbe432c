"""service.client: asks as the HTTP interface wants it, tries again where that helps, and types every failure."""

import asyncio
import gzip
import io
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from service.client import AsyncClient, Client
from service.client.answers import Answer, Kept
from service.client.errors import (
    ClientError,
    InvalidRequest,
    NotKept,
    Overloaded,
    RefusedPicture,
    ServerError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unreachable,
)
from service.client.requests import ColorizeOptions, KeepOptions, RenderOptions
from service.engine.parcel import pack_json, pack_zip
from service.errors import PROBLEMS, TYPE_PREFIX

GOLDEN = Path(__file__).parents[2] / "golden" / "openapi.json"
PICTURE = httpx2.Response(
    200,
    content=b"color",
    headers={
        "Content-Type": "image/jpeg",
        "ETag": '"abc"',
        "Server-Timing": "read;dur=1.5, infer;dur=20, odd",
        "X-Photochrom-Scene": quote("café"),
        "X-Photochrom-Model": "run%201",
        "X-Request-ID": "me-1",
    },
)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody sleeps; how long one would have."""
    slept: list[float] = []

    async def doze(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("asyncio.sleep", doze)
    return slept


class Script:
    """A service that answers with one thing after the other, and the last for ever; keeps what it was asked."""

    def __init__(self, *steps: httpx2.Response | Exception) -> None:
        self.steps = list(steps)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        # A copy: the client closes what it was given.
        return httpx2.Response(step.status_code, headers=step.headers, content=step.content)


Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Call one method of a client on a script; both clients must do the same."""

    def sync(script: Script, method: str = "colorize", *arguments: Any, settings: Any = None, **options: Any) -> Any:
        with Client("http://host:1/", transport=httpx2.MockTransport(script), **settings or {}) as client:
            return getattr(client, method)(*arguments, **options)

    def aio(script: Script, method: str = "colorize", *arguments: Any, settings: Any = None, **options: Any) -> Any:
        async def run() -> Any:
            async with AsyncClient(
                "http://host:1/", transport=httpx2.MockTransport(script), **settings or {}
            ) as client:
                return await getattr(client, method)(*arguments, **options)

        return asyncio.run(run())

    return sync if request.param == "sync" else aio


def problem(status: int, name: str = "", headers: dict[str, str] | None = None, **facts: Any) -> httpx2.Response:
    body = {"type": TYPE_PREFIX + name, "title": "T", "status": status, "detail": "D", "request_id": "r", **facts}
    return httpx2.Response(
        status, content=json.dumps(body), headers={"Content-Type": "application/problem+json", **(headers or {})}
    )


def test_the_answer_holds_what_the_service_said(ask: Ask) -> None:
    answer = ask(Script(PICTURE), "colorize", b"gray")
    assert answer == Answer(
        data=b"color",
        media_type="image/jpeg",
        etag='"abc"',
        scene="café",
        model="run 1",
        request_id="me-1",
        timing_ms={"read": 1.5, "infer": 20.0},
    )


def test_the_question_is_what_the_service_wants(ask: Ask) -> None:
    script = Script(httpx2.Response(200, content=b"color", headers={"Content-Type": "image/webp"}))
    ask(script, "colorize", b"gray", vividness=0.25, size=None, format="webp", settings={"api_key": "k-1"})
    request = script.requests[0]
    assert (request.method, str(request.url)) == ("POST", "http://host:1/colorize?vividness=0.25&format=webp")
    assert request.content == b"gray"
    assert request.headers["Authorization"] == "Bearer k-1"
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert "If-None-Match" not in request.headers


@pytest.mark.parametrize(("given", "sent"), [("png", "image/jpeg"), ("webp", "application/zip"), ("jpeg", "text/html")])
def test_another_format_than_asked_for_is_no_answer(ask: Ask, given: str, sent: str) -> None:
    script = Script(httpx2.Response(200, content=b"color", headers={"Content-Type": sent}))
    if sent == "application/zip":
        assert ask(script, "colorize", b"gray", format=given).media_type == sent  # several variants
    else:
        with pytest.raises(InvalidRequest, match=f"answers with {sent}"):
            ask(script, "colorize", b"gray", format=given)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_without_end_is_not_taken(ask: Ask, encoding: str) -> None:
    zeros = bytes(2_000_000)
    content = gzip.compress(zeros) if encoding == "gzip" else zeros
    headers = {"Content-Type": "image/png", "Content-Encoding": encoding}
    script = Script(httpx2.Response(200, content=zeros, headers={"Content-Type": "image/png"}))
    assert len(ask(script, "colorize", b"gray", settings={"max_answer_bytes": 2_000_000}).data) == 2_000_000

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=httpx2.ByteStream(content), headers=headers)

    with pytest.raises(InvalidRequest, match="more than 1999999 bytes"):
        ask(answer, "colorize", b"gray", settings={"max_answer_bytes": 1_999_999})


class Dribble(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A part now and then, and never the last."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            threading.Event().wait(0.01)
            yield b"x"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.to_thread(threading.Event().wait, 0.01)
            yield b"x"


def test_an_answer_that_dribbles_in_is_left_at_the_deadline(ask: Ask) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=Dribble(), headers={"Content-Type": "image/png"})

    with pytest.raises(TimedOut, match="did not answer in time"):
        ask(answer, "colorize", b"gray", settings={"deadline_s": 0.2})


def test_the_key_goes_nowhere_else(ask: Ask) -> None:
    script = Script(httpx2.Response(307, headers={"Location": "http://elsewhere.example/colorize"}), PICTURE)
    with pytest.raises(ClientError, match="sends callers on to"):
        ask(script, "colorize", b"gray", settings={"api_key": "k-1"})
    assert [request.url.host for request in script.requests] == ["host"]


def test_without_a_key_none_is_sent(ask: Ask) -> None:
    script = Script(PICTURE)
    ask(script, "colorize", b"gray")
    assert "Authorization" not in script.requests[0].headers


def test_every_option_of_the_http_interface_can_be_given() -> None:
    operation = json.loads(GOLDEN.read_text())["paths"]["/colorize"]["post"]
    keep = json.loads(GOLDEN.read_text())["paths"]["/pictures"]["post"]
    render = json.loads(GOLDEN.read_text())["paths"]["/pictures/{id}"]["get"]
    for options, described in ((ColorizeOptions, operation), (RenderOptions, render), (KeepOptions, keep)):
        names = {parameter["name"] for parameter in described["parameters"] if parameter["in"] == "query"}
        assert set(options.__annotations__) == names


KEPT = {
    "id": "abc-_9",
    "width": 4,
    "height": 3,
    "megapixels": 0.000012,
    "model": "r",
    "scene": [{"name": "indoor", "probability": 0.75}],
    "tone": "applied",
    "notes": ["it is black and white alone"],
    "confidence": {"mean": 0.5},
    "expires_in_s": 900,
}


def test_a_picture_is_kept_rendered_and_forgotten(ask: Ask) -> None:
    script = Script(httpx2.Response(201, json=KEPT))
    kept = ask(script, "keep", b"gray", size=96, tone="off")
    assert str(script.requests[0].url) == "http://host:1/pictures?size=96&tone=off"
    assert kept == Kept(
        "abc-_9", 4, 3, (("indoor", 0.75),), 0.5, 900.0, "r", "applied", ("it is black and white alone",)
    )
    told = {name: value for name, value in KEPT.items() if name not in ("tone", "notes")}  # as services said it before
    assert ask(Script(httpx2.Response(201, json=told)), "keep", b"gray").tone == "none"
    script = Script(PICTURE)
    answer = ask(script, "render", kept, etag='"t"', vividness=0.9, max_side=100, hints=[(0.5, 0.25, "#c03020")])
    assert answer.pictures() == [b"color"]
    assert answer.facts() == {}
    ask(script, "render", "../x", variant=2)
    ask(script, "confidence", kept)
    asked = [(request.method, str(request.url)) for request in script.requests]
    assert asked == [
        ("GET", "http://host:1/pictures/abc-_9?vividness=0.9&max_side=100&hints=0.500000%2C0.250000%2Cc03020"),
        ("GET", "http://host:1/pictures/..%2Fx?variant=2"),
        ("GET", "http://host:1/pictures/abc-_9/confidence"),
    ]
    assert script.requests[0].headers["If-None-Match"] == '"t"'
    script = Script(httpx2.Response(204))
    assert ask(script, "forget", kept) is None
    assert (script.requests[0].method, script.requests[0].url.path) == ("DELETE", "/pictures/abc-_9")
    with pytest.raises(NotKept):
        ask(Script(problem(404, "picture-not-kept")), "render", kept)
    with pytest.raises(TypeError, match="variants"):
        ask(Script(PICTURE), "render", kept, variants=2)
    with pytest.raises(InvalidRequest, match="Photochrom"):
        ask(Script(httpx2.Response(200, json={"id": 1})), "keep", b"gray")


def test_the_colors_of_a_place_are_read(ask: Ask) -> None:
    told = {"colors": [{"color": "#c08a70", "share": 0.41}, {"color": "#929292", "share": 0.2}]}
    script = Script(httpx2.Response(200, json=told))
    assert ask(script, "colors", "abc", 0.25, 1) == [("#c08a70", 0.41), ("#929292", 0.2)]
    assert str(script.requests[0].url) == "http://host:1/pictures/abc/colors?x=0.250000&y=1.000000"
    with pytest.raises(NotKept):
        ask(Script(problem(404, "picture-not-kept")), "colors", "abc", 0, 0)
    for wrong in ({}, {"colors": [{"color": "#c08a70"}]}, {"colors": 1}):
        with pytest.raises(InvalidRequest, match="Photochrom"):
            ask(Script(httpx2.Response(200, json=wrong)), "colors", "abc", 0, 0)


def test_regions_are_text_or_several_texts(ask: Ask) -> None:
    script = Script(PICTURE)
    for given in ("gray/0,0,0;c03020/0.5,0.5,0.02", ["gray/0,0,0", "c03020/0.5,0.5,0.02"]):
        ask(script, "colorize", b"gray", regions=given)
        assert script.requests[-1].url.params["regions"] == "gray/0,0,0;c03020/0.5,0.5,0.02"


def test_hints_are_written_as_the_service_reads_them(ask: Ask) -> None:
    from service.engine.hint_text import parse_hints

    given = [(0.5, 1.0, "#c03020"), (0.0, 1 / 3, (-12.5, 30.0))]
    script = Script(PICTURE)
    ask(script, "colorize", b"gray", hints=given)
    text = script.requests[0].url.params["hints"]
    first, second = parse_hints(text)
    assert (first.x, first.y, second.x, second.ab) == (0.5, 1.0, 0.0, (-12.5, 30.0))
    assert second.y == pytest.approx(1 / 3, abs=1e-6)
    ask(script, "colorize", b"gray", hints=text)
    assert script.requests[1].url.params["hints"] == text


def test_a_reference_goes_along_in_a_form(ask: Ask, pauses: list[float]) -> None:
    script = Script(httpx2.ConnectError("no"), PICTURE)
    ask(script, "colorize", b"gray", reference=io.BytesIO(b"warm"), reference_strength=1.0)
    assert len(pauses) == 1
    for request in script.requests:
        assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
        body = request.read()
        assert b'name="image"' in body
        assert b"gray" in body
        assert b'name="reference"' in body
        assert b"warm" in body


def test_several_pictures_are_taken_out_of_their_answer(ask: Ask) -> None:
    zipped = httpx2.Response(
        200, content=pack_zip([(1, b"one"), (2, b"two")], ".png"), headers={"Content-Type": "application/zip"}
    )
    assert ask(Script(zipped), "colorize", b"gray", variants=2).pictures() == [b"one", b"two"]
    told = httpx2.Response(
        200, content=pack_json({"width": 3}, [(1, b"one"), (2, b"two")], "image/png"),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    answer = ask(Script(told), "colorize", b"gray", variants=2, format="json")
    assert (answer.pictures(), answer.facts()) == ([b"one", b"two"], {"width": 3})
    with pytest.raises(InvalidRequest, match="application/json"):
        ask(Script(told), "colorize", b"gray")
    cut = httpx2.Response(200, content=zipped.content[:-9], headers={"Content-Type": "application/zip"})
    with pytest.raises(InvalidRequest, match="cannot be read"):
        ask(Script(cut), "colorize", b"gray", variants=2).pictures()
    assert ask(Script(httpx2.Response(304)), "colorize", b"gray", etag="x").pictures() == []


def test_every_problem_of_the_service_has_a_type_of_its_own() -> None:
    kinds = {}
    for kind in PROBLEMS:
        with (
            Client(transport=httpx2.MockTransport(Script(problem(kind.status, kind.name))), retries=0) as client,
            pytest.raises(ClientError) as caught,
        ):
            client.colorize(b"gray")
        kinds[kind.name] = type(caught.value)
    assert kinds == {
        "malformed-request": InvalidRequest,
        "out-of-memory": Overloaded,
        "out-of-disk": Overloaded,
        "picture-too-costly": RefusedPicture,
        "unauthorized": Unauthorized,
        "not-found": InvalidRequest,
        "picture-not-kept": NotKept,
        "method-not-allowed": InvalidRequest,
        "not-acceptable": InvalidRequest,
        "upload-too-slow": TimedOut,
        "upload-too-large": TooLarge,
        "picture-too-large": TooLarge,
        "answer-too-large": TooLarge,
        "too-large-to-keep": TooLarge,
        "unsupported-picture": RefusedPicture,
        "empty-upload": RefusedPicture,
        "broken-picture": RefusedPicture,
        "several-frames": RefusedPicture,
        "invalid-option": InvalidRequest,
        "unfit-format": InvalidRequest,
        "internal-error": ServerError,
        "overloaded": Overloaded,
        "draining": Overloaded,
        "failing": Overloaded,
        "deadline-exceeded": TimedOut,
    }


def test_an_error_holds_the_problem(ask: Ask) -> None:
    with pytest.raises(TooLarge, match=r"^D$") as caught:
        ask(Script(problem(413, "picture-too-large", limit=50, unit="megapixels")), "colorize", b"gray")
    error = caught.value
    assert (error.status, error.type, error.title, error.request_id) == (413, "picture-too-large", "T", "r")
    assert error.facts == {"limit": 50, "unit": "megapixels"}


@pytest.mark.parametrize("content", [b"<html>Bad Gateway</html>", b"", b"[1]", b'"text"'])
def test_errors_of_strangers_are_typed_too(ask: Ask, content: bytes) -> None:
    with pytest.raises(ServerError, match="http://host:1 answered 502 Bad Gateway") as caught:
        ask(Script(httpx2.Response(502, content=content)), "colorize", b"gray")
    assert (caught.value.status, caught.value.type) == (502, "")


def test_a_redirect_is_an_error_that_says_where_to(ask: Ask) -> None:
    script = Script(httpx2.Response(301, headers={"Location": "https://host/colorize"}))
    with pytest.raises(InvalidRequest, match="https://host/colorize"):
        ask(script, "colorize", b"gray", settings={"api_key": "secret"})
    assert len(script.requests) == 1


def test_what_is_no_picture_is_not_taken_for_one(ask: Ask) -> None:
    with pytest.raises(InvalidRequest, match="text/html"):
        ask(Script(httpx2.Response(200, content=b"hi", headers={"Content-Type": "text/html"})), "colorize", b"gray")
    with pytest.raises(InvalidRequest, match="JSON"):
        ask(Script(httpx2.Response(200, content=b"hi")), "health")


@pytest.mark.parametrize(
    "bad",
    [
        problem(503, "overloaded", {"Retry-After": "1"}),
        httpx2.Response(429),
        httpx2.ConnectError("refused"),
        httpx2.ConnectTimeout("slow"),
        httpx2.RemoteProtocolError("the other side went away"),
    ],
    ids=["503", "429", "refused", "connect-timeout", "cut"],
)
def test_it_tries_again_until_it_works(ask: Ask, pauses: list[float], bad: httpx2.Response | Exception) -> None:
    script = Script(bad, bad, PICTURE)
    assert ask(script, "colorize", io.BytesIO(b"gray")).data == b"color"
    assert [request.content for request in script.requests] == [b"gray"] * 3
    assert len(pauses) == 2


@pytest.mark.parametrize("broken", [httpx2.ReadError(""), httpx2.WriteError(""), httpx2.RemoteProtocolError("")])
def test_a_picture_may_be_what_breaks_the_connection(ask: Ask, pauses: list[float], broken: Exception) -> None:
    once = {"resend": False}
    script = Script(httpx2.ConnectError("refused"), problem(503, "overloaded"), broken, PICTURE)
    with pytest.raises(Unreachable) as caught:
        ask(script, "colorize", b"gray", settings=once)
    assert caught.value.broke
    assert (len(script.requests), len(pauses)) == (3, 2)
    with pytest.raises(Unreachable) as caught:
        ask(Script(httpx2.ConnectError("refused")), "colorize", b"gray", settings=once)
    assert not caught.value.broke
    script = Script(broken, httpx2.Response(200, json={"run_id": "r"}))
    assert ask(script, "model", settings=once) == {"run_id": "r"}, "a small question is asked again"


def test_pauses_grow_and_are_never_shorter_than_asked(ask: Ask, pauses: list[float]) -> None:
    with pytest.raises(Unreachable):
        ask(Script(httpx2.ConnectError("no")), "colorize", b"gray", settings={"retries": 5})
    assert all(base <= pause <= 1.25 * base for pause, base in zip(pauses, (0.25, 0.5, 1, 2, 4), strict=True))
    pauses.clear()
    with pytest.raises(Overloaded) as caught:
        ask(Script(problem(503, "overloaded", {"Retry-After": "7"})), "colorize", b"gray", settings={"retries": 3})
    assert len(pauses) == 3
    assert all(7 <= pause <= 1.25 * 7 for pause in pauses)
    assert caught.value.retry_after_s == 7


def test_callers_sent_away_together_do_not_come_back_together(ask: Ask, pauses: list[float]) -> None:
    for _ in range(8):
        ask(Script(problem(503, "overloaded", {"Retry-After": "2"}), PICTURE), "colorize", b"gray")
    assert len(set(pauses)) > 4


def test_a_date_to_come_back_at_counts(ask: Ask, pauses: list[float]) -> None:
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    with pytest.raises(Overloaded) as caught:
        ask(Script(httpx2.Response(503, headers={"Retry-After": past})), "colorize", b"gray", settings={"retries": 1})
    assert caught.value.retry_after_s == 0
    assert len(pauses) == 1
    far = "Wed, 21 Oct 2099 07:28:00 GMT"
    with pytest.raises(Overloaded):
        ask(Script(httpx2.Response(503, headers={"Retry-After": far})), "colorize", b"gray")
    assert len(pauses) == 1, "longer than max_wait_s: not waited for at all"
    with pytest.raises(Overloaded) as caught:
        ask(Script(httpx2.Response(503, headers={"Retry-After": "soon"})), "health", settings={"retries": 0})
    assert caught.value.retry_after_s is None


def test_waiting_has_a_limit(ask: Ask, pauses: list[float]) -> None:
    script = Script(problem(503, "overloaded", {"Retry-After": "10"}))
    with pytest.raises(Overloaded):
        ask(script, "colorize", b"gray", settings={"retries": 100, "max_wait_s": 30})
    assert sum(pauses) <= 30
    assert len(script.requests) == len(pauses) + 1 >= 3


@pytest.mark.parametrize("status", [400, 401, 404, 406, 413, 415, 422, 500, 502, 504])
def test_what_will_not_change_is_not_asked_again(ask: Ask, pauses: list[float], status: int) -> None:
    script = Script(problem(status))
    with pytest.raises(ClientError):
        ask(script, "colorize", b"gray")
    assert len(script.requests) == 1
    assert pauses == []


@pytest.mark.parametrize("error", [httpx2.ReadTimeout(""), httpx2.WriteTimeout(""), httpx2.PoolTimeout("")])
def test_a_slow_service_is_not_asked_twice(ask: Ask, pauses: list[float], error: Exception) -> None:
    script = Script(error)
    with pytest.raises(TimedOut, match="http://host:1"):
        ask(script, "colorize", b"gray")
    assert (len(script.requests), pauses) == (1, [])


def test_timeouts_are_those_given(ask: Ask) -> None:
    script = Script(PICTURE)
    ask(script, "colorize", b"gray", settings={"timeout_s": 7})
    ask(script, "colorize", b"gray", settings={"timeout_s": 100})
    short, long = (request.extensions["timeout"] for request in script.requests)
    assert short == {"connect": 7, "read": 7, "write": 7, "pool": 7}
    assert (long["connect"], long["read"]) == (10, 100)


def test_an_answer_known_by_its_tag_is_not_sent_again(ask: Ask) -> None:
    script = Script(httpx2.Response(304, headers={"ETag": '"abc"'}))
    answer = ask(script, "colorize", b"gray", etag='"abc"')
    assert script.requests[0].headers["If-None-Match"] == '"abc"'
    assert (answer.unchanged, answer.data, answer.media_type, answer.etag) == (True, b"", "", '"abc"')


def test_paths_and_files_are_read(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"gray")
    script = Script(PICTURE)
    ask(script, "colorize", path)
    ask(script, "colorize", str(path))
    with path.open("rb") as stream:
        ask(script, "colorize", stream)
    ask(script, "colorize", memoryview(b"gray"))
    assert [request.content for request in script.requests] == [b"gray"] * 4
    with pytest.raises(FileNotFoundError):
        ask(script, "colorize", tmp_path / "gone.png")
    with pytest.raises(TypeError, match="'rb'"):
        ask(script, "colorize", io.StringIO("text"))
    assert len(script.requests) == 4


def test_a_misspelled_option_is_refused_here(ask: Ask) -> None:
    with pytest.raises(TypeError, match="vivdness"):
        ask(Script(PICTURE), "colorize", b"gray", vivdness=1)


def test_model_and_health_are_objects(ask: Ask) -> None:
    script = Script(httpx2.Response(200, json={"run_id": "r"}))
    assert ask(script, "model", settings={"api_key": "k"}) == {"run_id": "r"}
    assert ask(script, "health") == {"run_id": "r"}
    assert [request.url.path for request in script.requests] == ["/model", "/health"]
    assert script.requests[0].headers["Authorization"] == "Bearer k"


def test_ready_is_yes_or_no_at_once(ask: Ask, pauses: list[float]) -> None:
    assert ask(Script(httpx2.Response(200, json={"status": "ok"})), "ready") is True
    assert ask(Script(problem(503, "draining", {"Retry-After": "1"})), "ready") is False
    assert ask(Script(httpx2.ConnectError("no")), "ready") is False
    assert pauses == []


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "127.0.0.1:8000"},
        {"url": "ftp://host"},
        {"url": "http://"},
        {"url": "http://host:port"},
        {"api_key": "a\nb"},
        {"api_key": "schlüssel"},
        {"timeout_s": 0},
        {"retries": -1},
        {"max_wait_s": -1},
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_nonsense_is_refused_at_once(kind: type[Client] | type[AsyncClient], settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"address|key|above 0"):
        kind(**settings)


def test_secrets_in_the_address_stay_out_of_errors() -> None:
    for step in (httpx2.ConnectError("no"), httpx2.ReadTimeout(""), httpx2.Response(200), httpx2.Response(500)):
        with (
            Client("http://me:secret@host", transport=httpx2.MockTransport(Script(step)), retries=0) as client,
            pytest.raises(ClientError) as caught,
        ):
            client.colorize(b"gray")
        assert "secret" not in str(caught.value)
        assert "http://host" in str(caught.value)


def test_importing_it_is_light() -> None:
    code = "import service.client, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = ("onnxruntime", "cv2", "numpy", "PIL", "fastapi", "pydantic", "typer", "rich", "chroma")
    assert "httpx2" in result.stdout
    assert [name for name in heavy if f"'{name}'" in result.stdout] == []
