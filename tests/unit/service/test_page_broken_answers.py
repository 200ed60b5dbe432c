"""service/page/service.js: an answer that breaks off in the middle is no picture to the page."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.page_driver import EXECUTABLE, running_browser

MODULES = Path(__file__).parents[3] / "service" / "page"

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed (see `make browser`)")


class BreaksOff(BaseHTTPRequestHandler):
    """Gives the page's modules, and of pictures the first chunk."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/pictures/"):
            self._break_off()
            return
        body = (MODULES / self.path[1:]).read_bytes() if self.path.endswith(".js") else b"<!doctype html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._break_off()

    def _break_off(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"8\r\n\x89PNG\r\n\x1a\n\r\n")
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "call",
    [
        "service.render('x', 'vividness=0.5')",
        "service.sureness('x')",
        "service.colorize(new File(['x'], 'x.png', { type: 'image/png' }), '', null, { onProgress() {} })",
    ],
)
def test_an_answer_that_breaks_off_is_as_no_answer(address: str, call: str) -> None:
    script = f"""async () => {{
      const {{ service, Unreachable }} = await import("/service.js");
      return {call}.then(() => "a picture", (error) => error instanceof Unreachable);
    }}"""
    with running_browser() as browser:
        page = browser.new_page()
        page.goto(address)
        assert page.evaluate(script) is True
