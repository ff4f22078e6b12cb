import shutil
from html.parser import HTMLParser

from made_up import made_up, srit

from srit.run_directory import write_bytes
from srit.study.claims import findings
from srit.study.page import html, latex, markdown
from srit.study.tables import make_tables
from srit.study.tables.entries import Entry, Table

HOSTILE = "</td><script>alert(1)</script> {{ 7 * 7 }} \\input{x} a|b_c & 5 %"


def test_every_page_is_made_again_from_study_json_alone(tmp_path, finished):
    shutil.copy(finished / "study.json", tmp_path)
    write_bytes(tmp_path / "pages/tables/pass-at-k.md", b"of an earlier state")

    done = srit("study", "report", tmp_path / "study.json", "--out", tmp_path / "pages")

    assert done.exit_code == 0
    names = [str(path.relative_to(finished)) for path in finished.glob("tables/*")] + ["claims.md", "study.html"]
    assert len(names) > 10
    assert [n for n in names if (tmp_path / "pages" / n).read_bytes() != (finished / n).read_bytes()] == []
    assert str(finished) not in (finished / "study.json").read_text()
    assert not (tmp_path / "pages/tables/pass-at-k.md").exists()


def test_foreign_text_stays_text_in_all_three_forms():
    table = Table("t", HOSTILE, (HOSTILE,), [(Entry(HOSTILE, 0.5),)], HOSTILE)
    results = made_up({"instructed": 0.4, "refined": 0.5}, cells={HOSTILE: {}})

    page = html(results, findings(results), [table, *make_tables(results, findings(results))], [])

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag not in ("img", "iframe", "link", "object", "base", "form")
            assert tag != "script" or not attributes
            assert not any(name.startswith("on") or name == "src" for name, _ in attributes)
            assert all(value.startswith("#") for name, value in attributes if name == "href")

    Tags().feed(page)
    assert page.count("<script>") == 1
    assert "{{ 7 * 7 }}" in page
    assert "\\textbackslash{}input\\{x\\}" in latex(table) and "a|b\\_c \\& 5 \\%" in latex(table)
    assert "\\<script\\>" in markdown(table) and "a\\|b\\_c" in markdown(table)
