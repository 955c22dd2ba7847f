"""The examples of docs/formats.md are what the program takes."""

import json
import re
from pathlib import Path

import pytest
from report_samples import JSON, NDJSON, NOW_S

from twinloop.network.formats import (
    MAX_BODY_BYTES,
    MAX_ROWS,
    MEDIA_TYPES,
    SUFFIXES,
    check,
    decode,
    read_file,
    read_mapping,
)

TEXT = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_reports_of_the_document_are_accepted():
    reports = [text for text in blocks("json") if "sequence" in text]
    assert len(reports) == 2
    for media_type, text in [*((JSON, text) for text in reports), *((NDJSON, text) for text in blocks("ndjson"))]:
        accepted = check(decode(text.encode(), media_type), NOW_S)
        assert not accepted.refused
        assert sum(len(part.ids) for part in accepted.rows) >= 2


def test_mappings_of_the_document_read_the_tables_that_they_are_for(tmp_path):
    tables = {
        "IMSI": "Timestamp,IMSI,slice_id,tx_brate downlink [Mbps]\n1700171855597,1010123456002,0,0.00944578\n",
        "Cell_000113": "DateTime,Traffic\n10/16/2018 0:00,117.12294\n",
    }
    mappings = [text for text in blocks("json") if "sequence" not in text]
    assert len(mappings) == len(tables)
    for text in mappings:
        (tmp_path / "mapping.json").write_text(text, encoding="utf-8")
        (tmp_path / "table.csv").write_text(next(t for word, t in tables.items() if word in text), encoding="utf-8")
        (batch,) = read_file(tmp_path / "table.csv", mapping=read_mapping(tmp_path / "mapping.json"))
        assert not check(batch, NOW_S).refused


def test_the_xml_of_the_document_is_read(tmp_path):
    (text,) = blocks("xml")
    (tmp_path / "report.xml").write_text(text, encoding="utf-8")
    (batch,) = read_file(tmp_path / "report.xml")
    assert not check(batch, NOW_S).refused


@pytest.mark.parametrize("told", [*MEDIA_TYPES, *SUFFIXES])
def test_what_is_understood_is_listed(told):
    assert f"`{told}`" in TEXT


def test_limits_are_those_of_the_program():
    assert f"{MAX_ROWS:,} rows and {MAX_BODY_BYTES // 2**20} MiB" in TEXT
    assert json.loads(blocks("json")[0])["receipts"]
