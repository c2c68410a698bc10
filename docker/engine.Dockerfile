# The engine: vLLM with the gate. Targets: `cuda`, and `cpu` for small models.
FROM vllm/vllm-openai:v0.32.0 AS cuda
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# Our command needs nothing that vLLM does not bring; what the image has stays as it is.
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY model model
COPY training training
RUN python3 -m pip install --no-deps --no-build-isolation . \
    && personadual engine --help > /dev/null \
    && useradd --uid 10001 --home-dir /var/lib/personadual --create-home personadual
ENV PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/personadual
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=900s --retries=6 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["personadual"]
# A checkpoint of yours, mounted there: what Pocket is built with is not in this image.
CMD ["engine", "--host", "0.0.0.0", "--model", "/models/model"]

FROM python:3.11-slim-bookworm AS dependencies
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv --without-pip /opt/personadual
COPY requirements/engine-cpu.lock requirements/
RUN python3 -m pip --python /opt/personadual install --require-hashes --no-deps -r requirements/engine-cpu.lock

FROM dependencies AS build
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY model model
COPY training training
RUN python3 -m pip --python /opt/personadual install --no-deps --no-build-isolation --prefix /ours .

FROM python:3.11-slim-bookworm AS cpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /var/lib/personadual --create-home personadual
# A change of the source is a layer of its own, and a small one.
COPY --from=dependencies /opt/personadual /opt/personadual
COPY --from=build /ours /opt/personadual
ENV PATH=/opt/personadual/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/personadual
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=600s --retries=6 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["personadual"]
CMD ["engine", "--host", "0.0.0.0", "--data", "."]
