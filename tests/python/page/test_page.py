"""The page of a plan: whole, self-contained, and unmoved by what is missing or hostile."""

import json
import re
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta, timezone

import pytest
from penstock.cli import app as cli
from penstock.engine.session import Session
from penstock.errors import InvalidArgumentError, MalformedError, NotFoundError
from penstock.page import open_page, plan_page
from penstock.page.gantt import merged, read_steps, zoomed
from penstock.page.measured import measured_sweep
from penstock.page.svg import power_words, ticks, time_ticks
from penstock.page.values import digits, moment, number, percent, scaled, seconds
from penstock.util import exitcodes
from python.page import plan_fixture

HOSTILE = "</title><script>alert(1)</script>\x00\ud800\"'&<b>"


@pytest.fixture(scope="module")
def plan():
    return plan_fixture.plan()


def parsed(html):
    """The page as XML: well-formed, so that no text has become markup."""
    html.encode()
    return ElementTree.fromstring(html)


def headings(html):
    return [each.text for each in parsed(html).iter("h2")]


def tags(html):
    return {each.tag for each in parsed(html).iter()}


def words(html):
    return "\n".join(parsed(html).find("body").itertext())


def assert_self_contained(html):
    assert not re.search(r"https?:|//[\w.]+\.|\bsrc=|\bhref=|url\(|@import|<script|<link", html)
    assert tags(html).isdisjoint({"script", "link", "img", "a"})


def boxes(svg):
    """(x, right edge) of each rectangle."""
    found = [(float(r.get("x")), float(r.get("width"))) for r in svg.iter("rect")]
    return [(x, x + width) for x, width in found]


def test_the_page_has_every_part_in_its_order(plan):
    html = plan_page(plan, plan_fixture.report(plan))
    assert_self_contained(html)
    assert headings(html) == [
        *("Which lane works when", "Tensors by tier", "Memory by tier"),
        *("The sweep, lane by lane", "Bytes per link", "Roofline"),
        *("Predicted and measured", "What would change it", "Policy"),
    ]
    shown = words(html)
    rate = plan["prediction"]["tokens_per_second"]
    bottleneck = plan["prediction"]["bottleneck"]
    for expected in (digits(rate), bottleneck[0].upper() + bottleneck[1:], "dummy:opt-30b on cuda"):
        assert expected in shown
    assert "prefers-color-scheme:dark" in html


def percentages(html, name):
    """Lengths of a kind that elements have, in percent of the room."""
    return [float(found) for found in re.findall(rf'style="{name}:([\d.]+)%"', html)]


def test_charts_stay_inside_their_frame(plan):
    html = plan_page(plan)
    for svg in parsed(html).iter("svg"):
        _, _, width, height = map(float, svg.get("viewBox").split())
        assert all(0 <= x and right <= width + 0.5 for x, right in boxes(svg))
        for each in [*svg.iter("rect"), *svg.iter("text")]:
            assert 0 <= float(each.get("y")) <= height
        for line in svg.iter("line"):
            assert all(0 <= float(line.get(name)) <= height for name in ("y1", "y2"))
    assert all(0 <= share <= 100 for share in percentages(html, "left"))
    stacks = re.findall(r'<div class="stack">(.*?)</div>', html)
    assert len(stacks) > 10
    for bars in stacks:
        assert sum(percentages(bars, "width")) <= 100.5


# Nothing keeps a chart wider than a narrow screen: no length but those of a few columns.
def test_charts_shrink_with_the_screen(plan):
    html = plan_page(plan, plan_fixture.report(plan))
    style = parsed(html).find(".//style").text
    narrow = style[style.index("@media (max-width:640px)") :]
    assert "overflow-x" not in style
    assert "min-width:760px" not in style
    for columns in (".tensors .row{", ".links .row{", ".gantt .row{"):
        rule = narrow.split(columns)[1].split("}")[0]
        assert "px" not in rule.split("grid-template-columns:")[1].split(";")[0]
    assert not re.search(r'<svg[^>]* width="', html)


def cells(row):
    return ["".join(cell.itertext()) for cell in row]


# One figure for one thing: the share of a lane is the same wherever it stands.
def test_the_table_the_chart_and_the_links_tell_the_same_shares(plan):
    page = parsed(plan_page(plan))
    table = {cells(row)[0]: cells(row)[1:] for row in page.find(".//table[@class='phases']/tbody")}
    assert table["time"][0] == seconds(plan["prediction"]["seconds"])
    charts = [each for each in page.iter("div") if each.get("class") == "gantt"]
    drawn = {}
    for row in charts[0].findall("div[@class='row']"):
        drawn[row.find("b").text] = row.find("span").text
    assert drawn["h2d"] != "0 %"
    assert drawn == {lane: table[lane][2] for lane in drawn}
    links = page.find(".//div[@class='links']").findall("div[@class='row']")
    rates = {row.find("b").text: list(row.itertext())[-1].split(", ")[1] for row in links}
    assert rates == {lane: table[lane][0] for lane in rates}
    busiest = max(plan["prediction"]["phases"][1]["lanes"].values())
    share = busiest / plan["prediction"]["phases"][1]["seconds"]
    assert f"{share:.0%}" in plan["prediction"]["bottleneck"]
    assert percent(share) in drawn.values()


def test_the_page_says_when_the_job_would_be_finished(plan):
    begin = datetime(2026, 12, 31, 23, 30, tzinfo=timezone.utc)
    long = {**plan["prediction"], "seconds": 26 * 3600 + 90.0}
    shown = words(plan_page({**plan, "prediction": long}, start=begin))
    assert "26 h 2 min" in shown
    sentence = "If started at 31 December 2026, 23:30 UTC, finished at 2 January 2027, 01:31 UTC."
    assert sentence in shown
    assert "If started" not in words(plan_page(plan))
    assert "If started" not in words(plan_page({**plan, "prediction": {}}, start=begin))
    forever = {**plan["prediction"], "seconds": 1e300}
    assert "If started" not in words(plan_page({**plan, "prediction": forever}, start=begin))
    east = timezone(timedelta(hours=5, minutes=30))
    assert moment(datetime(2026, 3, 4, 5, 6, tzinfo=east)) == "4 March 2026, 05:06 UTC+05:30"
    assert moment(datetime(2026, 3, 4, 5, 6)) == "4 March 2026, 05:06"


def test_every_class_that_is_drawn_is_styled(plan):
    html = plan_page(plan, plan_fixture.report(plan), None, datetime(2026, 1, 2))
    style = parsed(html).find(".//style").text
    used = {name for each in parsed(html).iter() for name in (each.get("class") or "").split()}
    assert {name for name in used if f".{name}" not in style} <= {"", "first", "compared"}


def test_what_the_plan_lacks_is_left_out(plan):
    bare = {name: value for name, value in plan.items() if name != "prediction"}
    html = plan_page(bare)
    assert_self_contained(html)
    assert headings(html) == ["Memory by tier", "Policy"]
    assert words(html).count(plan["why"][1:]) == 1
    assert headings(plan_page({})) == []
    for missing in plan["prediction"]:
        rest = {name: v for name, v in plan["prediction"].items() if name != missing}
        parsed(plan_page({**plan, "prediction": rest}, {}))


@pytest.mark.parametrize("wrong", [None, "x", -1, 1e400, [], {}, [[]], [{}], {"a": []}, True])
def test_no_value_of_a_wrong_kind_breaks_it(plan, wrong):
    for name in plan:
        parsed(plan_page({**plan, name: wrong}, {"stats": wrong, "engine": wrong}))
    for name in plan["prediction"]:
        parsed(plan_page({**plan, "prediction": {**plan["prediction"], name: wrong}}))


def test_hostile_names_stay_text(plan):
    prediction = {
        **plan["prediction"],
        "bottleneck": HOSTILE,
        "tensors": [{"name": HOSTILE, "bytes": {"device": 1}}],
        "what_if": [{"change": HOSTILE, "tokens_per_second": 1}],
        "lanes": {HOSTILE: {"seconds": 1, "bytes": 1}},
        "peak_bytes": {HOSTILE: 1},
        "sweep": {
            "seconds": 1,
            "steps": [{"lane": HOSTILE, "label": HOSTILE, "begin": 0, "end": 1}],
        },
        "roofline": {
            **{"flops_per_sweep": 1, "peak_flops_per_second": 1},
            "links": [{"name": HOSTILE, "bytes_per_second": 1, "bytes_per_sweep": 1}],
        },
    }
    hostile = {name: HOSTILE for name in ("model", "device", "weights", "kv", "version", "why")}
    memory = [{"tier": HOSTILE, "label": HOSTILE, "bytes": 1}]
    planned = {**plan, **hostile, "policy": {HOSTILE: HOSTILE}, "warnings": [HOSTILE]}
    planned = {**planned, "memory": memory, "prediction": prediction}
    ran = {"engine": {"model": HOSTILE + "2"}, "tokens_per_second": 1}
    html = plan_page(planned, {**ran, "stats": {"lanes": prediction["lanes"]}})
    assert_self_contained(html)
    assert tags(html) <= tags(plan_page({**plan, "warnings": ["w"]}, plan_fixture.report(plan)))
    assert "alert(1)" in words(html)


def test_predicted_beside_measured(plan):
    ran = plan_fixture.report(plan)
    rows = {
        row[0].text: ["".join(cell.itertext()) for cell in row[1:]]
        for row in parsed(plan_page(plan, ran)).find(".//table[@class='compared']").iter("tr")
    }
    assert rows["tokens per second"][2] == "\u22127.4 %"
    assert rows["time of the job"][2] == "+8.0 %"
    assert rows["sweeps"] == ["34", "34", "+0.0 %"]
    assert rows["disk read, bytes"][2] == "+0.0 %"
    assert rows["host, peak"][2] == "\u22121.0 %"
    lanes = {"disk_write": {"bytes": 7, "busy_seconds": 2.0}}
    more = {**ran, "stats": {**ran["stats"], "lanes": lanes}}
    text = words(plan_page(plan, more)).replace("\n", "")
    assert "disk write, bytes0 B7 Bnot predicted" in text
    assert "0 Bnot measured" in text
    other = {**ran, "engine": {**ran["engine"], "weights": "int4-g64"}}
    assert "weights: planned fp16, ran int4-g64" in words(plan_page(plan, other))
    assert ": planned" not in words(plan_page(plan, ran))
    assert "no figure in common" in words(plan_page(plan, {"rows": {}}))


def test_a_plan_without_prediction_shows_the_bytes_that_the_run_expected():
    lanes = {"disk_read": {"bytes": 110, "busy_seconds": 1.0}, "h2d": {"bytes": 5}}
    ran = {"stats": {"lanes": lanes, "predicted_bytes": {"disk_read": 100}}}
    shown = words(plan_page({"model": "m"}, ran))
    assert "disk read, bytes100 B110 B+10.0 %" in shown.replace("\n", "")
    assert "h2d" not in shown


def test_a_huge_sweep_stays_small():
    plan = plan_fixture.plan(layers=48, batches=100, rows=4)
    assert len(plan["prediction"]["sweep"]["steps"]) > 20_000
    html = plan_page(plan)
    assert len(html.encode()) < 2_000_000
    steps = [
        {"lane": f"lane {i % 30}", "label": f"label {i % 997}", "begin": i, "end": i + 0.3}
        for i in range(60_000)
    ]
    plan["prediction"]["sweep"] = {"seconds": 60_000.0, "steps": steps}
    assert len(plan_page(plan).encode()) < 2_000_000


def test_merging_keeps_what_can_be_seen(plan):
    steps = [s for s in read_steps(plan["prediction"]["sweep"]) if s.lane == "compute"]
    busy = sum(step.end - step.begin for step in steps)
    for pixel in (0.0, 0.001, 0.01, 0.1):
        bars = list(merged(steps, pixel))
        assert sum(bar.count for bar in bars) == len(steps)
        assert sum(sum(bar.labels.values()) for bar in bars) == pytest.approx(busy)
        for bar, after in zip(bars, bars[1:], strict=False):
            assert bar.end <= after.begin
            apart, wide = after.begin - bar.end, after.end - after.begin
            assert apart >= pixel or wide >= pixel or bar.end - bar.begin >= pixel
    assert len(list(merged(steps, 0.0))) == len(steps)
    assert len(list(merged(steps, 1e9))) == 1


def test_a_wide_step_keeps_its_own_bar():
    drawn = [("a", 0, 10), ("b", 10, 10.2), ("b", 10.2, 10.4), ("a", 10.4, 20)]
    steps = [
        {"lane": "h2d", "label": label, "begin": begin, "end": end, "layer": 1, "batch": 0}
        for label, begin, end in drawn
    ]
    bars = list(merged(read_steps({"steps": steps}), 1.0))
    assert [(bar.label, bar.count) for bar in bars] == [("a", 1), ("b", 2), ("a", 1)]


def test_the_close_up_is_of_long_models_only(plan):
    begin, end = zoomed(read_steps(plan["prediction"]["sweep"]))
    assert 0 < begin < end < plan["prediction"]["sweep"]["seconds"]
    short = plan_fixture.plan(layers=4)
    assert zoomed(read_steps(short["prediction"]["sweep"])) is None
    assert "close up" not in words(plan_page(short))


def trace_of(sweeps, sweep_us=100.0):
    """Sweeps of two steps on the compute lane, each after a read; the second sweep is longest."""
    events, now = [], 0.0
    for sweep in range(sweeps):
        length = sweep_us * (3 if sweep == 1 else 1)
        for half, computed in enumerate(("embed", "gemm")):
            begin = now + half * length / 2
            for tid, name in ((1, computed), (2, "read")):
                shared = {"ph": "X", "tid": tid, "ts": begin, "dur": length / 4}
                events.append({"name": name, **shared})
        now += length
    tracks = enumerate(("compute", "disk_read (2)"), 1)
    named = [{"name": "thread_name", "tid": n, "args": {"name": lane}} for n, lane in tracks]
    return {"traceEvents": named + events}


def test_a_measured_sweep_is_the_one_of_median_length(plan):
    steps = measured_sweep(trace_of(5))
    assert {step.lane for step in steps} == {"compute", "disk_read"}
    assert [(s.begin, s.end) for s in steps if s.lane == "compute"] == [
        *(pytest.approx((0, 25e-6)), pytest.approx((50e-6, 75e-6))),
    ]
    html = plan_page(plan, None, trace_of(5))
    assert_self_contained(html)
    assert "A sweep as it ran" in headings(html)


@pytest.mark.parametrize(
    "trace",
    [
        {},
        {"traceEvents": 3},
        {"traceEvents": [{"ph": "X", "tid": [], "ts": "x"}, {"name": "thread_name", "tid": {}}]},
        {"traceEvents": trace_of(2)["traceEvents"][:2]},
    ],
)
def test_what_is_no_trace_shows_no_sweep(plan, trace):
    assert measured_sweep(trace) == []
    assert "holds no whole sweep" in words(plan_page(plan, None, trace))


def test_numbers_for_people():
    assert [digits(n) for n in (0, 0.0123, 1.234, 12.34, 99.96, 123.4, 12345)] == [
        *("0", "0.0123", "1.23", "12.3", "100.0", "123", "12,345"),
    ]
    assert [scaled(n, "B/s") for n in (12, 13.84e9, 2e15)] == ["12.0 B/s", "13.8 GB/s", "2.00 PB/s"]
    assert [seconds(n) for n in (0.0123, 4.2, 99, 100, 119.7, 3599.6, 4320, 90_000)] == [
        *("12.3 ms", "4.20 s", "99.0 s", "1 min 40 s", "2 min 0 s", "1 h 0 min", "1 h 12 min"),
        "25 h 0 min",
    ]
    assert [percent(n) for n in (0, 0.004, 0.41, 1.03)] == ["0 %", "0.4 %", "41 %", "103 %"]
    assert [number(n) for n in (3, -1, True, "3", None, float("nan"), 10**400)] == [3] + [0] * 6
    assert [power_words(n, "FLOP/s") for n in (9, 13, -2)] == [
        *("1 GFLOP/s", "10 TFLOP/s", "0.0100 FLOP/s"),
    ]
    assert ticks(0, 5.4) == [0, 1, 2, 3, 4, 5]
    shown = [
        (unit, [text for _, text in marks])
        for unit, marks in (
            *(time_ticks(0.26, 0.3), time_ticks(0, 5.4)),
            *(time_ticks(600, 1200), time_ticks(0, 36_000)),
        )
    ]
    assert shown == [
        ("milliseconds", [str(n) for n in range(260, 301, 5)]),
        ("seconds", ["0", "1", "2", "3", "4", "5"]),
        ("minutes", [str(n) for n in range(10, 21)]),
        ("hours", [str(n) for n in range(11)]),
    ]


def without_dates(html):
    return re.sub(r"If started at [^<]*", "", html)


def test_the_command_writes_the_page_and_still_prints_the_plan(plan, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Session, "plan", lambda self, workload=None, tell=None: plan)
    page, report = tmp_path / "plan.html", tmp_path / "report.json"
    report.write_text(json.dumps(plan_fixture.report(plan)))
    words_given = ["plan", "dummy:opt-30b", "--html", str(page), "--report", str(report)]
    assert cli.main(words_given) == exitcodes.OK
    printed = capsys.readouterr()
    brief = {name: found for name, found in plan["prediction"].items() if name != "sweep"}
    assert json.loads(printed.out) == {**plan, "prediction": brief}
    assert str(page) in printed.err
    begin = re.search(r"If started at (.*? UTC), finished", page.read_text()).group(1)
    start = datetime.strptime(begin, "%d %B %Y, %H:%M UTC").replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - start) < timedelta(hours=1)
    same = plan_page(plan, plan_fixture.report(plan), None, start)
    assert without_dates(page.read_text()) == without_dates(same)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.html", "report.json"}


def test_a_page_that_cannot_be_written_is_refused_before_planning(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        Session, "plan", lambda self, workload=None, tell=None: pytest.fail("planned")
    )
    page, report = tmp_path / "plan.html", tmp_path / "report.json"
    report.write_text("{")
    for html, given, error, field in (
        (tmp_path / "no" / "plan.html", None, NotFoundError, "html"),
        (tmp_path, None, InvalidArgumentError, "html"),
        (report, report, InvalidArgumentError, "html"),
        (None, report, InvalidArgumentError, "report"),
        (page, tmp_path / "missing.json", NotFoundError, ""),
        (page, report, MalformedError, ""),
    ):
        with pytest.raises(error) as caught:
            open_page(html, given)
        assert caught.value.field == field
    where = str(tmp_path / "no" / "plan.html")
    assert cli.main(["plan", "dummy:opt-30b", "--html", where]) == exitcodes.REFUSED
    assert "no folder" in capsys.readouterr().err
    with pytest.raises(InvalidArgumentError) as caught:
        open_page(None, None, report)
    assert caught.value.field == "trace"
    assert open_page(None) is None
