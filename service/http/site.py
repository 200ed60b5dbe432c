"""The page for people, the API's own page, and their files."""

import hashlib
import re
from collections.abc import Mapping, Set
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.errors import (
    NotFound,
)
from service.http.conditional import has_already
from service.http.services import PageFile, services_of

PAGE_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
}
"""Media types of the page's files, by suffix; others are not served."""

SWAGGER_PACKAGE: Final = "fastapi_swagger"
"""Whose wheel holds Swagger UI."""

SWAGGER_FILES: Final = frozenset({"swagger-ui.css", "swagger-ui-bundle.js"})
"""The files of Swagger UI that are served."""

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: nothing runs, shows or connects but what this service itself serves."""

_PART: Final = re.compile(rb"<!-- part: ([a-z]+) -->\n")

router = APIRouter()


def load_page() -> dict[str, PageFile]:
    """Return the files of the page by name; its HTML is put together of its parts."""
    folder = resources.files("service") / "page"

    def part(found: re.Match[bytes]) -> bytes:
        return (folder / "parts" / f"{found[1].decode()}.html").read_bytes()

    files = _load(folder)
    whole = _PART.sub(part, files["index.html"].data)
    return files | {"index.html": _page_file_of(whole, files["index.html"].media_type)}


def load_docs() -> dict[str, PageFile]:
    """Return the files of the API's own page by name: ours, and those of Swagger UI, which a wheel holds.

    Returns:
        What is there. Without the wheel, which belongs to the service's requirements, the page is missing, not the
        service.
    """
    files = _load(resources.files("service") / "docs_page")
    wheel = find_spec(SWAGGER_PACKAGE)  # Found, not imported: its code is for applications that it patches.
    for folder in wheel.submodule_search_locations or () if wheel else ():
        files |= _load(Path(folder) / "resources", only=SWAGGER_FILES)
    return files


def _load(folder: Traversable, only: Set[str] | None = None) -> dict[str, PageFile]:
    files: dict[str, PageFile] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        media_type = PAGE_TYPES.get(file.name[file.name.rfind(".") :])
        if media_type is not None and (only is None or file.name in only):
            files[file.name] = _page_file_of(file.read_bytes(), media_type)
    return files


def _page_file_of(data: bytes, media_type: str) -> PageFile:
    return PageFile(data, media_type, hashlib.sha256(data).hexdigest()[:32])


@router.get("/", response_class=Response, include_in_schema=False)
async def page(request: Request) -> Response:
    """Show the page for people."""
    return _page_file(request, services_of(request).page["index.html"], {"Content-Security-Policy": PAGE_POLICY})


@router.get("/page/{name}", response_class=Response, include_in_schema=False)
async def page_file(request: Request, name: str) -> Response:
    """Give a file that the page needs.

    Raises:
        NotFound: the page has no such file.
    """
    return _page_file(request, _named(services_of(request).page, name), {})


@router.get("/docs", response_class=Response, include_in_schema=False)
async def docs(request: Request) -> Response:
    """Show the API's own page, to read and to try.

    Raises:
        NotFound: Swagger UI is not installed here.
    """
    files = services_of(request).docs
    if not files.keys() >= SWAGGER_FILES:
        raise NotFound("Swagger UI is not installed here: it comes with the wheel fastapi-swagger.")
    return _page_file(request, files["index.html"], {"Content-Security-Policy": PAGE_POLICY})


@router.get("/docs/{name}", response_class=Response, include_in_schema=False)
async def docs_file(request: Request, name: str) -> Response:
    """Give a file that the API's own page needs.

    Raises:
        NotFound: it has no such file.
    """
    return _page_file(request, _named(services_of(request).docs, name), {})


def _named(files: Mapping[str, PageFile], name: str) -> PageFile:
    file = files.get(name)
    if file is None or name == "index.html":
        raise NotFound("The page has no such file.")
    return file


def _page_file(request: Request, file: PageFile, headers: dict[str, str]) -> Response:
    # Asked for anew each time, which costs next to nothing: a new release shows at once.
    headers = headers | {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
    if has_already(request, file.tag):
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)
