# vllm-router, the load balancer of the vLLM project, from its release on PyPI.
FROM python:3.11-slim-bookworm AS build
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv --without-pip /opt/router
COPY requirements/router.lock requirements/
RUN python3 -m pip --python /opt/router install --require-hashes --no-deps -r requirements/router.lock

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 router
COPY --from=build /opt/router /opt/router
ENV PATH=/opt/router/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=600s --retries=6 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readiness', timeout=5)"]
ENTRYPOINT ["vllm-router", "--host", "0.0.0.0", "--port", "8000", "--prometheus-host", "0.0.0.0", "--log-level", "warning"]
