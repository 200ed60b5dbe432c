"""LitServe: a worker per core. A batch gains nothing on a CPU, so pictures go one at a time."""

import cv2
import litserve as ls
import numpy as np
from fastapi import Response
from straightforward import Network, cores, decode, encode, port, threads


class Photochrom(ls.LitAPI):
    """What each worker runs, in the order of the methods."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe hands it over
        """Load the model."""
        cv2.setNumThreads(threads())
        self.network = Network(threads())

    # LitServe takes a type here for the body's schema, and has none for a form.
    def decode_request(self, request) -> np.ndarray:  # type: ignore[no-untyped-def]
        """Read the upload."""
        return decode(request["image"].file.read())

    def predict(self, bgr: np.ndarray) -> np.ndarray:
        """Color it."""
        return self.network.colorize(bgr)

    def encode_response(self, bgr: np.ndarray) -> Response:
        """Write the answer."""
        return Response(encode(bgr), media_type="image/png")


if __name__ == "__main__":
    server = ls.LitServer(
        Photochrom(api_path="/colorize"), accelerator="cpu", workers_per_device=cores(), healthcheck_path="/ready"
    )
    server.run(host="127.0.0.1", port=port(), generate_client_file=False, log_level="warning")
