"""A Python client made by openapi-python-client: `python color.py ADDRESS IN OUT`, the package beside it."""

import io
import json
import sys
from pathlib import Path

from generated import Client
from generated.api.operation import get_health
from generated.api.pictures import colorize, keep_picture, render_picture
from generated.models import ColorizeFilesBody, Health, Kept, Problem
from generated.types import File

address, source, target = sys.argv[1:]
photograph = Path(source).read_bytes()


def file() -> File:
    """Return the photograph, to be read once."""
    return File(payload=io.BytesIO(photograph), file_name="photo.png", mime_type="image/png")


with Client(base_url=address) as client:
    made = colorize.sync(client=client, body=file(), vividness=0.8, hints="0.5,0.5,#c03020")
    assert isinstance(made, File), made
    Path(target).write_bytes(made.payload.read())
    form = colorize.sync(client=client, body=ColorizeFilesBody(image=file(), reference=file()))
    assert isinstance(form, File), form
    kept = keep_picture.sync(client=client, body=file())
    assert isinstance(kept, Kept), kept
    again = render_picture.sync(kept.id, client=client, vividness=0.8, hints="0.5,0.5,#c03020")
    assert isinstance(again, File), again
    refused = colorize.sync(client=client, body=file(), hints="0.5,0.5,#c03020;2,0,fff")
    assert isinstance(refused, Problem), refused
    health = get_health.sync(client=client)
    assert isinstance(health, Health), health
starts = {"form": form.payload.read(4).hex(), "again": again.payload.read(4).hex()}
told = {"problem": refused.type_, "detail": refused.detail, "status": health.status.value}
sys.stdout.write(json.dumps(told | starts))
