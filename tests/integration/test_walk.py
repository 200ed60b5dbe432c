"""A request walked from bytes to answer: the rooms it goes through, none of them calling up a layer, are the page's."""

import asyncio
import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import httpx2
import pytest

from service.http.app import create_app
from service.settings import Settings
from tests import onnx_factory
from tests.pictures import by_pillow, smooth_gray

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
LAYERS = ("commands", "http", "engine", "pictures", "")
"""Rooms of the service from the outside in; its ground, the files that lie in no room, is the innermost."""
SHARED = {"service.telemetry", "service.errors", "service.settings"}
"""What all rooms use all the time and no step of the walk is."""


def module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def layer_of(module: str) -> int:
    room = module.split(".")[1] if module.count(".") > 1 else ""
    return LAYERS.index(room)


class Walk:
    """Notes who calls whom in the service."""

    def __init__(self) -> None:
        self.is_noting = False
        self.steps: list[str] = []
        self.climbs: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note one call; what `sys.setprofile` and `threading.setprofile` want."""
        if not self.is_noting or event != "call":
            return
        module = module_of(frame)
        if not module.startswith("service.") or module in SHARED:
            return
        outer = frame.f_back
        while outer is not None and (not module_of(outer).startswith("service.") or module_of(outer) in SHARED):
            outer = outer.f_back
        with self._lock:
            if outer is not None and layer_of(module_of(outer)) > layer_of(module):
                self.climbs.add((module_of(outer), module))
            if module not in self.steps:
                self.steps.append(module)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """The second of two requests: the first one starts the threads and makes the tables."""
    model = onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    picture = by_pillow(smooth_gray(48, 64), "PNG")
    found = Walk()

    async def ask() -> None:
        app = create_app(Settings(model=model, device="cpu", threads=1))
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                for found.is_noting in (False, True):
                    answer = await client.post("/colorize", content=picture, headers={"Content-Type": "image/png"})
                    assert answer.status_code == 200
                found.is_noting = False

    threading.setprofile(found)
    sys.setprofile(found)
    try:
        asyncio.run(asyncio.wait_for(ask(), 60))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def test_no_step_goes_back_up_a_layer(walk: Walk) -> None:
    assert len(walk.steps) > 10
    assert walk.climbs == set()


def test_the_page_names_the_rooms_in_their_order(walk: Walk) -> None:
    """In the order in which a request first comes to each, the event loop's and the threads' together."""
    text = PAGE.read_text().partition("<!-- walk: start -->")[2].partition("<!-- walk: end -->")[0]
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)+)`", text)
    assert named == [step.removeprefix("service.").replace(".", "/") for step in walk.steps]
