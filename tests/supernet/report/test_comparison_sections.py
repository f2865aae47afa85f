"""Sections of a ranking and of a comparison: what their JSON files hold, as the commands print."""

import json
from argparse import Namespace

from search.evaluation.estimates import Estimate, Report, cell
from supernet.report.comparison_sections import compared, table_of
from supernet.report.run_files import RunFiles

ROW = {"tau": Estimate(0.62, 0.48, 0.74), "seeds": "2 of 3", "gain": Estimate(float("nan"), 0, 0)}
TABLES = {"Kendall's tau": {"score": ROW, "cost": {"tau": Estimate(0.1, float("nan"), 0)}}}

NETWORKS = [
    {"blocks": ["ds"], "cost": 7.0, "test": [0.4, 0.6]},
    {"blocks": ["ir"], "cost": 12.0, "test": [0.7, 0.8]},
]


def test_tables_are_those_that_are_printed(tmp_path):
    report = Report(["four networks"], TABLES, "more than chance")
    options = Namespace(seeds=3)
    (tmp_path / "rank.json").write_text(
        json.dumps(report.plain(options, networks={"uniform": NETWORKS}))
    )
    (tmp_path / "rank.png").write_bytes(b"png")
    (section,) = compared(RunFiles(tmp_path))
    assert (section.title, section.notes) == ("Ranking", ["four networks"])
    assert section.facts == [("in one sentence", "more than chance")]
    table, networks = section.tables
    assert [row[1:] for row in networks.rows] == [["12", "75.00%", "2"], ["7", "50.00%", "2"]]
    assert (table.caption, table.header) == ("Kendall's tau", ("", "tau", "seeds", "gain"))
    printed = [cell(ROW[column]) for column in table.header[1:]]
    assert table.rows == [["score", *printed], ["cost", ".10", "-", "-"]]
    assert printed == [".62 [.48 .74]", "2 of 3", "-"]
    assert [one.png for one in section.pictures] == [b"png"]
    assert '"seeds": "3"' in section.code[0].text


def test_a_folder_without_them_has_no_section_and_an_empty_table_no_columns(tmp_path):
    assert list(compared(RunFiles(tmp_path))) == []
    assert table_of("nothing", {}).header == ("",)
