"""Ray Serve: a replica per core, behind Ray's own HTTP server."""

import cv2
import ray
from fastapi import FastAPI, Response, UploadFile
from ray import serve
from straightforward import Network, cores, decode, encode, port, threads

app = FastAPI()


@serve.deployment(num_replicas=cores(), ray_actor_options={"num_cpus": 1})
@serve.ingress(app)
class Photochrom:
    """What each replica runs."""

    def __init__(self) -> None:
        """Load the model."""
        cv2.setNumThreads(threads())
        self.network = Network(threads())

    @app.get("/ready")
    def ready(self) -> dict[str, bool]:
        """Say that the model is loaded."""
        return {"ready": True}

    @app.post("/colorize")
    def colorize(self, image: UploadFile) -> Response:
        """Color a photograph."""
        return Response(encode(self.network.colorize(decode(image.file.read()))), media_type="image/png")


if __name__ == "__main__":
    ray.init(num_cpus=cores(), include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port()})
    serve.run(Photochrom.bind(), blocking=True)
