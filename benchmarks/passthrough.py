"""The least that a FastAPI + aiohttp proxy can do: read the body, ask, relay. No rule of ours."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse


def create() -> FastAPI:
    upstream = os.environ["UPSTREAM"]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            app.state.session = session
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.body()
        session: aiohttp.ClientSession = request.app.state.session
        headers = {"Content-Type": "application/json"}
        url = f"{upstream}/v1/chat/completions"
        if b'"stream":true' not in body:
            async with session.post(url, data=body, headers=headers) as response:
                return Response(
                    await response.read(), response.status, media_type="application/json"
                )
        response = await session.post(url, data=body, headers=headers)

        async def relay() -> AsyncIterator[bytes]:
            try:
                async for received in response.content.iter_any():
                    yield received
            finally:
                response.close()

        return StreamingResponse(relay(), media_type="text/event-stream")

    return app
