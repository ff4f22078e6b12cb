import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

from made_up import made_up, srit

from srit.page import document
from srit.run_directory import write_bytes
from srit.study.claims import findings
from srit.study.page import color, html, latex, markdown
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


def test_text_on_the_strongest_shades_can_be_read_in_light_and_dark():
    style = (Path(document.__file__).parent / "style.css").read_text()
    schemes = [dict(re.findall(r"--(page|ink): (#\w+)", part)) for part in style.split("}")[:2]]
    assert len({scheme["ink"] for scheme in schemes}) == 2

    ratios = [contrast(scheme["ink"], over(color(shade), scheme["page"])) for scheme in schemes for shade in (1, -1)]

    assert min(ratios) >= 4.5


def over(background, page):
    """The color of a translucent background over a page."""
    *rgb, opacity = map(float, re.findall(r"[\d.]+", background))
    return [opacity * one + (1 - opacity) * below for one, below in zip(rgb, channels(page), strict=True)]


def channels(text):
    digits = text.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]


def contrast(ink, background):
    """The contrast ratio of WCAG 2."""
    one, other = sorted((luminance(channels(ink)), luminance(background)))
    return (other + 0.05) / (one + 0.05)


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (one / 255 for one in rgb)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_column_without_a_name_is_no_empty_header():
    table = Table("t", "t", ("", "x"), [(Entry("a"), Entry("1"))])
    results = made_up({"instructed": 0.4, "refined": 0.5})

    page = html(results, [], [table], [])

    assert "<thead><tr><td></td>" in page and '<th scope="col"></th>' not in page


def test_the_column_of_unanswered_problems_is_left_out_where_no_teacher_was_asked():
    results = made_up({"instructed": 0.4, "refined": 0.5})

    [table] = [one for one in make_tables(results, findings(results)) if one.name == "answers"]

    assert table.columns[-1] == "not judged, %" and table.note == ""
