"""A plain FastAPI handler: one process, one session with ONNX Runtime's own settings, blocking work in its threads."""

import uvicorn
from fastapi import FastAPI, HTTPException, Response, UploadFile
from straightforward import Network, decode, encode, port

app = FastAPI()
network = Network()


@app.get("/ready")
def ready() -> dict[str, bool]:
    """Say that the model is loaded."""
    return {"ready": True}


@app.post("/colorize")
def colorize(image: UploadFile) -> Response:
    """Color a photograph."""
    try:
        bgr = decode(image.file.read())
    except ValueError as error:
        raise HTTPException(415) from error
    return Response(encode(network.colorize(bgr)), media_type="image/png")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=port(), log_level="warning")
