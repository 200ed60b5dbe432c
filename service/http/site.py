"""The page for people, and its files."""

import hashlib
from importlib import resources
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

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: nothing runs, shows or connects but what this service itself serves."""

router = APIRouter()


def load_page() -> dict[str, PageFile]:
    """Return the files of the page by name."""
    folder = resources.files("service") / "page"
    files = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        media_type = PAGE_TYPES.get(file.name[file.name.rfind(".") :])
        if media_type is not None:
            data = file.read_bytes()
            files[file.name] = PageFile(data, media_type, hashlib.sha256(data).hexdigest()[:32])
    return files


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
    file = services_of(request).page.get(name)
    if file is None or name == "index.html":
        raise NotFound("The page has no such file.")
    return _page_file(request, file, {})


def _page_file(request: Request, file: PageFile, headers: dict[str, str]) -> Response:
    # Asked for anew each time, which costs next to nothing: a new release shows at once.
    headers = headers | {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
    if has_already(request, file.tag):
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)
