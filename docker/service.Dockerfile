# The service, as an image of its own: `docker compose build`, or
#
#   docker build -f docker/service.Dockerfile -t photochrom/service .
#   docker build -f docker/service.Dockerfile -t photochrom/service-gpu --build-arg RUNTIME=gpu .
#
# RUNTIME=gpu takes ONNX Runtime's CUDA build with the CUDA and cuDNN wheels that it needs, on the same small base: all
# that it loads is locked with hashes beside the rest, and only the driver comes from the host. It also runs without a
# GPU, and says so loudly.
#
# EXTRAS adds what is optional: --build-arg EXTRAS="openvino heic" the network in bfloat16 on processors that have it,
# and HEIC pictures. A name is that of a file in requirements/.
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
ARG RUNTIME=service
ARG EXTRAS=
COPY requirements/${RUNTIME}.txt requirements/openvino.txt requirements/heic.txt pyproject.toml ./
# What several need is locked to one version, and is named once.
RUN for name in ${RUNTIME} ${EXTRAS}; do cat "${name}.txt" >> locked.txt || exit; done \
    && awk '/^[^ #]/ { new = !seen[$1]++ } new' locked.txt > all.txt \
    && .venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json all.txt

# ------------------------------------------------------------------------------------------------------- the environment
FROM ${BASE}${BASE_DIGEST} AS build
ARG RUNTIME=service
ARG EXTRAS=
RUN python -m venv /opt/photochrom
COPY requirements/${RUNTIME}.txt requirements/openvino.txt requirements/heic.txt /tmp/requirements/
RUN for name in ${RUNTIME} ${EXTRAS}; do set -- "$@" -r "/tmp/requirements/${name}.txt"; done \
    && /opt/photochrom/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes "$@"

# ------------------------------------------------------------------------------------------------------ the project itself
# Apart from what it needs, so that a change of it changes a small layer alone.
FROM build AS project
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY photochrom photochrom
COPY chroma chroma
COPY service service
RUN /opt/photochrom/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation \
        --prefix /project . \
    && rm /project/bin/photochrom-train /project/bin/photochrom-export

FROM build AS environment
# Nothing in the image installs anything afterwards.
RUN /opt/photochrom/bin/pip uninstall --quiet --yes setuptools pip

# ------------------------------------------------------------------------------------------------------------- the image
FROM ${BASE}${BASE_DIGEST}
# A new volume takes its owner from here.
RUN install -d -o 10001 -g 10001 /models /spool
COPY --from=sbom /sbom/sbom.json /usr/share/doc/photochrom/sbom.json
COPY --from=environment /opt/photochrom /opt/photochrom
COPY --from=project /project /opt/photochrom
COPY docker/serve.py docker/health.py /usr/local/lib/photochrom/
ENV PATH=/opt/photochrom/bin:${PATH} \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PHOTOCHROM_HOST=0.0.0.0 \
    PHOTOCHROM_LOG_FORMAT=json
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
ARG RUNTIME=service
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="photochrom-${RUNTIME}" \
    org.opencontainers.image.description="Turns black-and-white photographs into color, over HTTP." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/usr/local/lib/photochrom/health.py"]
ENTRYPOINT ["python", "/usr/local/lib/photochrom/serve.py"]
