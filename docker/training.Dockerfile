# Training and export, as an image of its own: `docker compose --profile train build`, or
#
#   docker build -f docker/training.Dockerfile -t photochrom/training-gpu .
#   docker build -f docker/training.Dockerfile -t photochrom/training-cpu --build-arg RUNTIME=training .
#
# TensorFlow's CUDA wheels come with all that it loads; only the driver comes from the host. The service is not in it.
#
# BASE_DIGEST pins the base's content: --build-arg BASE_DIGEST=@sha256:...

ARG BASE=python:3.12.12-slim-bookworm
ARG BASE_DIGEST=

# --------------------------------------------------------------------------------------------------- the bill of materials
FROM ${BASE}${BASE_DIGEST} AS sbom
WORKDIR /sbom
COPY requirements/audit.txt ./
RUN python -m venv .venv \
    && .venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r audit.txt
ARG RUNTIME=training-gpu
COPY requirements/${RUNTIME}.txt pyproject.toml ./
RUN .venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json \
        "${RUNTIME}.txt"

# ------------------------------------------------------------------------------------------------------- the environment
FROM ${BASE}${BASE_DIGEST} AS build
ARG RUNTIME=training-gpu
RUN python -m venv /opt/photochrom
COPY requirements/${RUNTIME}.txt /tmp/requirements.txt
RUN /opt/photochrom/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
        -r /tmp/requirements.txt

# ------------------------------------------------------------------------------------------------------ the project itself
# Apart from what it needs, so that a change of it changes a small layer alone.
FROM build AS project
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY photochrom photochrom
COPY chroma chroma
COPY training training
COPY export export
RUN /opt/photochrom/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation \
        --prefix /project . \
    && rm /project/bin/photochrom

FROM build AS environment
# Nothing in the image installs anything afterwards; setuptools stays, TensorFlow depends on it.
RUN /opt/photochrom/bin/pip uninstall --quiet --yes pip

# ------------------------------------------------------------------------------------------------------------- the image
FROM ${BASE}${BASE_DIGEST}
# New volumes take their owner from here.
RUN install -d -o 10001 -g 10001 /models /work
COPY --from=sbom /sbom/sbom.json /usr/share/doc/photochrom/sbom.json
COPY --from=environment /opt/photochrom /opt/photochrom
COPY --from=project /project /opt/photochrom
COPY docker/train.py /usr/local/lib/photochrom/
ENV PATH=/opt/photochrom/bin:${PATH} \
    HOME=/tmp \
    KERAS_BACKEND=tensorflow \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /work
ARG RUNTIME=training-gpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="photochrom-${RUNTIME}" \
    org.opencontainers.image.description="Trains Photochrom's network and exports it to ONNX." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
STOPSIGNAL SIGTERM
# Nothing asks a batch job whether it is healthy: its exit status says how it went.
HEALTHCHECK NONE
ENTRYPOINT ["python", "/usr/local/lib/photochrom/train.py"]
CMD ["default"]
