"""The peer of benchmarks/ingest.py: a service as one would first write it. `python ingest_peer.py DB PORT`."""

import json
import sqlite3
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field


class Row(BaseModel):
    kind: str
    id: str = Field(min_length=1, max_length=128)
    values: dict[str, float]


class Batch(BaseModel):
    source: str = Field(pattern="^[A-Za-z0-9._:-]{1,128}$")
    sequence: int = Field(ge=0)
    sent_s: float | None = None
    rows: list[Row]


def main() -> None:
    database = sqlite3.connect(sys.argv[1], isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE events (source TEXT, sequence INTEGER, body TEXT, PRIMARY KEY (source, sequence))")
    app = FastAPI()

    @app.post("/reports")
    async def reports(batch: Batch) -> dict[str, int]:
        text = json.dumps([row.model_dump() for row in batch.rows])
        database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", (batch.source, batch.sequence, text))
        return {"accepted": len(batch.rows)}

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="error")


if __name__ == "__main__":
    main()
