# The gateway alone: its run-time dependencies, no model, no engine.
FROM python:3.11-slim-bookworm AS build
# Where pip finds its packages, if not where it looks by itself.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv --without-pip /opt/personadual
COPY requirements/gateway.lock requirements/
RUN python3 -m pip --python /opt/personadual install --require-hashes --no-deps -r requirements/gateway.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY model model
COPY training training
RUN python3 -m pip --python /opt/personadual install --no-deps --no-build-isolation . \
    && python3 -m pip --python /opt/personadual uninstall --yes setuptools

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --home-dir /var/lib/personadual --create-home personadual
COPY --from=build /opt/personadual /opt/personadual
ENV PATH=/opt/personadual/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/personadual
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=6 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=5)"]
ENTRYPOINT ["personadual"]
CMD ["gateway", "--host", "0.0.0.0"]
