"""How the page looks, in light and dark."""

from __future__ import annotations

from penstock.page.svg import COLOURS

_LIGHT = {
    **{"page": "#f6f7f9", "card": "#ffffff", "ink": "#1b2330", "soft": "#5a6575"},
    **{"rule": "#dfe3e9", "track": "#eceff3", "good": "#1f7a4a", "bad": "#b3372f"},
    **{"inside": "#ffffff", "quiet": "#9aa5b4", "other": "#7c8694"},
    **{"device": "#2f6fb7", "host": "#2e8b6d", "disk": "#c0762b"},
}
_DARK = {
    **{"page": "#12161c", "card": "#1a2029", "ink": "#e6eaf0", "soft": "#9ba7b6"},
    **{"rule": "#303947", "track": "#262e3a", "good": "#6fcf97", "bad": "#f08a80"},
    **{"inside": "#10151b", "quiet": "#66727f", "other": "#98a3b0"},
    **{"device": "#6ea8e6", "host": "#63c2a2", "disk": "#e5a663"},
}
_LIGHT_COLOURS = (
    *("#2f6fb7", "#c0762b", "#2e8b6d", "#b0485a", "#7558b5"),
    *("#86693f", "#bb5d98", "#3d8c9c", "#85872a", "#5d6b80"),
)
_DARK_COLOURS = (
    *("#6ea8e6", "#e5a663", "#63c2a2", "#e68592", "#ab94e3"),
    *("#c2a67a", "#e398c6", "#7cc4d2", "#c5c765", "#a3b0c2"),
)
# Lanes are coloured the same in every chart.
_LANES = {"compute": 0, "host_compute": 2, "h2d": 4, "d2h": 6, "disk_read": 1, "disk_write": 3}

_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1160px;margin:0 auto;padding:28px 20px 48px}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;
 padding:18px 20px;margin:16px 0}
h1{font-size:26px;line-height:1.25;margin:0 0 2px;overflow-wrap:anywhere}
h2{font-size:17px;margin:0 0 2px}
p{margin:4px 0 12px;color:var(--soft);max-width:90ch;overflow-wrap:anywhere}
p.lead{color:var(--ink);font-size:17px;margin:14px 0 0}
p.note{color:var(--bad)}
h3{font-size:14px;margin:18px 0 4px;font-weight:600}
.cards{display:flex;flex-wrap:wrap;gap:12px 44px;margin-top:16px}
.cards div{min-width:110px}
.cards b{display:block;font-size:30px;line-height:1.2;font-weight:650;white-space:nowrap}
.cards span{color:var(--soft);font-size:13px}
.cards .first b{color:var(--device)}
.chart{overflow-x:auto}
svg{display:block;width:100%;min-width:760px;height:auto;font-size:13px}
svg text{fill:var(--ink)}
svg .small{font-size:12px;fill:var(--soft)}
svg .bad{fill:var(--bad)}
svg .strong{font-weight:600}
svg .inside{fill:var(--inside);font-size:12px}
.end{text-anchor:end}.middle{text-anchor:middle}
.track{fill:var(--track)}.quiet{fill:var(--quiet)}.other,.l-other{fill:var(--other)}
.plot{fill:none;stroke:var(--rule)}
.edge{stroke:var(--card);stroke-width:1}
.grid{stroke:var(--rule);stroke-width:1}
.budget{stroke:var(--ink);stroke-width:2}
.roof{stroke:var(--ink);stroke-width:2.5}
.reached{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:2 4}
.slant{stroke-width:2.5}.dashed{stroke-dasharray:9 7}.s-other{stroke:var(--other)}
.room{stroke-width:1.5;stroke-dasharray:2 3}
.point{stroke:var(--card);stroke-width:2}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px 5px 0;text-align:right;border-bottom:1px solid var(--rule);
 font-weight:400}
th{color:var(--soft);font-size:13px}
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
.good{color:var(--good)}.bad{color:var(--bad)}
table.changes td:last-child,table.changes th:last-child{width:34%;padding-right:0;text-align:left}
.bar{display:inline-block;height:12px;background:var(--device);border-radius:2px;
 vertical-align:middle}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));
 gap:10px 36px;margin:8px 0 0}
dt{color:var(--soft);font-size:13px}dd{margin:0;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:13px}
"""


def _variables(plain: dict[str, str], colours: tuple[str, ...]) -> str:
    told = {**plain, **{f"c{index}": value for index, value in enumerate(colours)}}
    return "".join(f"--{name}:{value};" for name, value in told.items())


def style() -> str:
    """The style sheet; the reader's preference chooses between light and dark."""
    fills = [f".c{index}{{fill:var(--c{index})}}" for index in range(COLOURS)]
    fills += [f".t-{tier}{{fill:var(--{tier})}}" for tier in ("device", "host", "disk")]
    for lane, index in _LANES.items():
        fills.append(f".l-{lane}{{fill:var(--c{index})}}.s-{lane}{{stroke:var(--c{index})}}")
    return (
        f":root{{color-scheme:light dark;{_variables(_LIGHT, _LIGHT_COLOURS)}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{_variables(_DARK, _DARK_COLOURS)}}}}}"
        f"{_RULES}{''.join(fills)}"
    )
