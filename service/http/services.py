"""What the routes work with."""

from dataclasses import dataclass

from fastapi import Request

from service.engine.pipeline import Pipeline
from service.http.auth import ApiKeys
from service.settings import Settings


@dataclass(frozen=True)
class PageFile:
    """A file of a page.

    Attributes:
        data: its content.
        media_type: of it.
        tag: its entity tag.
    """

    data: bytes
    media_type: str
    tag: str


@dataclass(frozen=True, eq=False)
class Services:
    """What the routes work with; ``app.state.services``.

    Attributes:
        settings: the operator's.
        keys: that let callers in.
        pipeline: the loaded model and its threads.
        page: the files of the page, by name.
        docs: those of the API's own page.
        version: of this program.
        started: `time.monotonic` of the start, seconds.
    """

    settings: Settings
    keys: ApiKeys
    pipeline: Pipeline
    page: dict[str, PageFile]
    docs: dict[str, PageFile]
    version: str
    started: float


def services_of(request: Request) -> Services:
    """Return what the application of a request works with."""
    services: Services = request.app.state.services
    return services
