"""Fixtures of the tests of the page; a file that has a `server` of its own uses that."""

from tests.e2e.page_driver import browser, model_path, open_page, server, small_server, strict_server, tabs

__all__ = ["browser", "model_path", "open_page", "server", "small_server", "strict_server", "tabs"]
