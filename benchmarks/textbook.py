"""Uploads as FastAPI's documentation shows them, and a handler with nothing but the file. Served by uvicorn."""

import os
import shutil
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI, Request, UploadFile
from starlette.concurrency import run_in_threadpool

app = FastAPI()
FOLDER = Path(os.environ.get("FOLDER", "."))


@app.post("/upload")
def upload(file: UploadFile) -> dict[str, int]:
    with (FOLDER / uuid4().hex).open("wb") as out:
        shutil.copyfileobj(file.file, out)
        out.flush()
        os.fsync(out.fileno())
        return {"size": out.tell()}


@app.post("/bare")
async def bare(request: Request) -> dict[str, int]:
    return {"size": await run_in_threadpool(_write, await request.body())}


def _write(body: bytes) -> int:
    with (FOLDER / uuid4().hex).open("wb") as out:
        out.write(body)
        out.flush()
        os.fsync(out.fileno())
    return len(body)
