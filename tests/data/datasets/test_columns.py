"""Columns of tables: several of one kind are refused where they are used, and only there."""

from collections import defaultdict

import pytest

from reid_dcs import InputError
from reid_dcs.data.datasets.tables import read_table

WITH_TIME = (("path",), ("identity", "camera", "time"))


@pytest.fixture
def table(tmp_path):
    (tmp_path / "t.csv").write_text(
        "path,identity,camera,date,time\na.jpg,1,c,2024-01-02,10:00\nb.jpg,2,c,,\n"
    )
    return tmp_path / "t.csv"


def test_two_columns_that_nobody_reads_are_skipped(table):
    rows = list(read_table(table, defaultdict(list)))
    assert [(row.path.name, row.identity, row.camera) for row in rows] == [
        ("a.jpg", "1", "c"),
        ("b.jpg", "2", "c"),
    ]


def test_two_columns_of_which_one_would_be_read_are_refused(table):
    with pytest.raises(InputError, match="date, time all name the time: keep one column"):
        list(read_table(table, defaultdict(list), *WITH_TIME))


def test_two_columns_of_an_optional_kind_are_refused(table):
    table.write_text("path,identity,cam,camid\na.jpg,1,c,d\n")
    with pytest.raises(InputError, match="cam, camid all name the camera: keep one column"):
        list(read_table(table, defaultdict(list)))
