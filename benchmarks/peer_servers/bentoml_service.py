"""BentoML: a worker per core. A batch gains nothing on a CPU, so pictures go one at a time."""

from pathlib import Path
from typing import Annotated

import bentoml
import cv2
from bentoml.validators import ContentType
from straightforward import Network, cores, decode, encode, threads


@bentoml.service(workers=cores(), traffic={"timeout": 120})
class Photochrom:
    """What each worker runs."""

    def __init__(self) -> None:
        """Load the model."""
        cv2.setNumThreads(threads())
        self.network = Network(threads())

    @bentoml.api(route="/colorize")
    def colorize(
        self, image: Annotated[Path, ContentType("image/jpeg")], context: bentoml.Context
    ) -> Annotated[Path, ContentType("image/png")]:
        """Color a photograph."""
        answer = Path(context.temp_dir) / "color.png"
        answer.write_bytes(encode(self.network.colorize(decode(image.read_bytes()))))
        return answer
