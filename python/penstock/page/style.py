"""How the page looks, in light and dark."""

from __future__ import annotations

from penstock.page.markup import COLOURS

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
.small{font-size:12px;color:var(--soft)}
.end{text-align:right}
.bad{color:var(--bad)}.good{color:var(--good)}
.chart{font-size:13px}
.chart b{font-weight:600}
.edge{box-shadow:inset -1px 0 0 var(--card);stroke:var(--card);stroke-width:1;
 vector-effect:non-scaling-stroke}
.quiet{background:var(--quiet)}.other,.l-other{fill:var(--other);background:var(--other)}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;margin:6px 0 10px;font-size:12px;
 color:var(--soft)}
.legend span{white-space:nowrap}
.legend i{display:inline-block;width:11px;height:11px;margin-right:5px;vertical-align:-1px}
.stack{position:relative;display:flex;height:18px;background:var(--track);flex:1 1 auto}
.stack i{display:block;flex:none}
.stack .budget{position:absolute;top:-4px;bottom:-4px;width:2px;background:var(--ink)}
.tier{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 16px;margin:12px 0 4px;
 color:var(--ink);max-width:none}
.row{display:grid;align-items:center;margin:6px 0;gap:2px 12px}
.row b{overflow-wrap:anywhere}
.tensors .row{grid-template-columns:130px 76px minmax(120px,1fr) minmax(120px,1fr)}
.links .row{grid-template-columns:100px 1fr 1fr}
.links .head{font-size:12px;color:var(--soft)}
.meter{display:flex;align-items:center;gap:10px}
.meter span{flex:0 0 150px;font-size:12px;color:var(--soft)}
.gantt .row{grid-template-columns:96px 1fr 48px;margin:5px 0}
.gantt .row b{text-align:right}
.gantt svg{display:block;width:100%;height:24px;background:var(--track)}
.gantt .axis b{font-weight:400}.gantt .axis{color:var(--soft);font-size:12px}
.ticks{position:relative;height:18px}
.ticks span{position:absolute;transform:translateX(-50%)}
.grid{stroke:var(--rule);stroke-width:1;vector-effect:non-scaling-stroke}
.roofline{display:flex;flex-wrap:wrap;gap:12px 32px;align-items:flex-start}
.roofline svg{display:block;flex:1 1 420px;min-width:0;max-width:680px;width:100%;height:auto;
 font-size:10px}
.roofline svg text{fill:var(--ink)}
.roofline svg .small{fill:var(--soft);font-size:10px}
.roofline .end{text-anchor:end}.middle{text-anchor:middle}
.keys{flex:1 1 260px;font-size:13px}
.keys p{margin:0 0 10px;color:var(--ink);padding-left:34px;position:relative}
.keys span{display:block}
.keys i{position:absolute;left:4px;top:3px;width:14px;height:14px}
.keys .key-roof,.keys .key-reached{left:0;top:9px;width:24px;height:0;
 border-top:2px solid var(--ink)}
.keys .key-reached{border-top-style:dotted}
.plot{fill:none;stroke:var(--rule)}
.roof{stroke:var(--ink);stroke-width:2}
.reached{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:2 4}
.slant{stroke-width:2}.dashed{stroke-dasharray:9 7}.s-other{stroke:var(--other)}
.room{stroke-width:1.2;stroke-dasharray:2 3}
.point{stroke:var(--card);stroke-width:2}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px 5px 0;text-align:right;border-bottom:1px solid var(--rule);
 font-weight:400}
th{color:var(--soft);font-size:13px}
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
table.phases td:first-child{overflow-wrap:normal}
table.phases b{font-weight:650}
p.finish{margin:12px 0 0}
table.changes td:last-child,table.changes th:last-child{width:34%;padding-right:0;text-align:left}
.bar{display:inline-block;height:12px;background:var(--device);border-radius:2px;
 vertical-align:middle}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));
 gap:10px 36px;margin:8px 0 0}
dt{color:var(--soft);font-size:13px}dd{margin:0;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:13px}
@media (max-width:640px){
 main{padding:16px 10px 32px}
 section{padding:14px 12px}
 h1{font-size:22px}
 .cards{gap:10px 28px}.cards b{font-size:24px}
 th,td{padding:5px 8px 5px 0;font-size:13px}
 .tensors .row{grid-template-columns:1fr auto}
 .tensors .stack,.tensors .stack+span{grid-column:1/-1}
 .links .row{grid-template-columns:1fr;margin:10px 0}
 .links .head{display:none}
 .meter span{flex-basis:138px}
 .gantt .row{grid-template-columns:1fr auto;margin:8px 0}
 .gantt .row b{text-align:left}
 .gantt .row svg,.gantt .ticks{grid-column:1/-1;grid-row:2}
 .gantt .axis b,.gantt .axis .end{grid-row:1}
 .ticks{margin:0 14px}
 .ticks span:nth-child(even){display:none}
 table.phases th{font-size:12px;vertical-align:bottom}
 .roofline svg{font-size:14px}.roofline svg .small{font-size:14px}
 table.changes td:last-child,table.changes th:last-child{width:20%}
}
"""


def _variables(plain: dict[str, str], colours: tuple[str, ...]) -> str:
    variables = {**plain, **{f"c{index}": value for index, value in enumerate(colours)}}
    return "".join(f"--{name}:{value};" for name, value in variables.items())


def style() -> str:
    """The style sheet; the reader's preference chooses between light and dark."""
    fills = [
        f".c{index}{{fill:var(--c{index});background:var(--c{index})}}" for index in range(COLOURS)
    ]
    fills += [f".t-{tier}{{background:var(--{tier})}}" for tier in ("device", "host", "disk")]
    for lane, index in _LANES.items():
        fill = f"fill:var(--c{index});background:var(--c{index})"
        fills.append(f".l-{lane}{{{fill}}}.s-{lane}{{stroke:var(--c{index})}}")
    return (
        f":root{{color-scheme:light dark;{_variables(_LIGHT, _LIGHT_COLOURS)}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{_variables(_DARK, _DARK_COLOURS)}}}}}"
        f"{_RULES}{''.join(fills)}"
    )
