# Training and evaluation: for Pocket on a CPU, or, with `--build-arg LOCK=cuda`, for real backbones.
FROM python:3.11-slim-bookworm AS dependencies
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ARG LOCK=training-cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv --without-pip /opt/personadual
COPY requirements/${LOCK}.lock requirements/
RUN python3 -m pip --python /opt/personadual install --require-hashes --no-deps -r requirements/${LOCK}.lock

FROM dependencies AS build
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY model model
COPY training training
RUN python3 -m pip --python /opt/personadual install --no-deps --no-build-isolation --prefix /ours .

FROM python:3.11-slim-bookworm
ARG LOCK=training-cpu
# vLLM, which gives the rollouts on a GPU, reads its memory by libnuma; Triton compiles a small C
# module on its first use of one.
# hadolint ignore=DL3008
RUN if [ "$LOCK" = cuda ]; then \
    apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*; fi \
    && useradd --uid 10001 --home-dir /var/lib/personadual --create-home personadual
# A change of the source is a layer of its own, and a small one.
COPY --from=dependencies /opt/personadual /opt/personadual
COPY --from=build /ours /opt/personadual
ENV PATH=/opt/personadual/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/personadual
# Their paths are relative to the folder in which a training stands.
COPY configs configs
COPY training/pocket/data training/pocket/data
RUN mkdir .personadual runs
ENTRYPOINT ["personadual"]
CMD ["train", "--help"]
