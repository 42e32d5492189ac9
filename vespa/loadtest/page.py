"""The report as one HTML page that needs nothing else: no scripts, no fonts, nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.plots import Plot, endings, latency_over_time, shares, throughput_over_time, tokens_over_time
from vespa.loadtest.report import Report
from vespa.loadtest.text import intention, times
from vespa.loadtest.units import duration, printable, size, three

STYLE: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1b2330; --dim: #5d6878; --rule: #dfe3e8;
  --c1: #2f74d0; --c2: #d97a00; --c3: #8a4fc4; --c4: #93a0b2; --bad: #cf3434; --good: #1d7f48; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b2129; --ink: #e4e9f0; --dim: #9aa6b6;
  --rule: #323b47; --c1: #6ba6f2; --c2: #f2a541; --c3: #bd8cf0; --c4: #6d7a8c; --bad: #f26d6d; --good: #55c488; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1320px; padding: 28px 24px 48px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 0 0 2px; }
p { margin: 0 0 8px; } .dim, dt, th { color: var(--dim); font-weight: normal; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin: 20px 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 14px 16px; }
.tiles b { display: block; font-size: 24px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tiles .bad { color: var(--bad); } .tiles .good { color: var(--good); }
.grid2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 14px; }
.grid2 > * { min-width: 0; } .grid2 > section:nth-child(odd) { grid-column: 1 / -1; }
.note { border-left: 4px solid var(--c2); margin: 0 0 12px; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 12px system-ui, sans-serif; fill: var(--dim); } svg text.strong { fill: var(--ink); }
.grid { stroke: var(--rule); fill: none; } .axis { stroke: var(--dim); fill: none; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.dots { fill: none; stroke: currentColor; stroke-width: 5; stroke-linecap: round; opacity: .45; }
.dots.bad { opacity: .9; } .fill { fill: currentColor; }
.c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); } .c4 { color: var(--c4); }
.bad { color: var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; min-height: 22px; font-size: 13px; color: var(--dim);
  margin-bottom: 6px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 6px;
  background: currentColor; }
section { overflow-x: auto; } .grid2 + section, section + section { margin-top: 14px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 0 5px 12px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:first-child, td:first-child, .left { text-align: left; } th:first-child, td:first-child { padding-left: 0; }
tr:last-child td { border-bottom: 0; }
td.text { text-align: left; overflow-wrap: break-word; white-space: normal; min-width: 130px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 6px 0 0; } dd { margin: 0;
  overflow-wrap: anywhere; }
"""

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> str:
    """The whole page. Every text that comes from outside is escaped."""
    title = f"Load test of {printable(report.about.target)}"
    early = f'<p class="bad">Ended early: {_e(report.interrupted)}</p>' if report.interrupted else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n<style>{STYLE}</style>\n'
        f'<h1>{escape(title)}</h1>\n<p class="dim">{escape(intention(report.about, report.plan))} · '
        f"{_e(report.about.started)}</p>{early}\n{_tiles(report)}\n{_remarks(report)}\n"
        f'<div class="grid2">{"".join(map(_figure, _plots(report)))}{_times(report)}</div>\n'
        f"{_failures(report)}\n{_settings(report)}\n</html>\n"
    )


def _plots(report: Report) -> list[Plot]:
    plots = [latency_over_time(report), shares(report), throughput_over_time(report)]
    if report.tokens:
        plots.append(tokens_over_time(report))
    return [*plots, endings(report)]


def _tiles(report: Report) -> str:
    good = "good" if report.clean else "bad"
    share = f"{report.succeeded / report.sent:.2%}" if report.sent else "none sent"
    tiles = [
        (good, share, f"succeeded: {report.succeeded:,} of {report.sent:,}"),
        ("", three(report.requests_per_second), "requests a second"),
    ]
    if report.tokens:
        tiles.append(("", three(report.tokens_per_second), "tokens a second"))
    if report.latency.count:
        tiles.append(("", duration(report.latency.p50), "latency, p50"))
        tiles.append(("", duration(report.latency.p99), "latency, p99"))
    if report.first_token.count:
        tiles.append(("", duration(report.first_token.p50), "first token, p50"))
    if report.between_tokens.count:
        tiles.append(("", duration(report.between_tokens.p50), "between tokens, p50"))
    cells = "".join(
        f'<div class="card"><b class="{css}">{b}</b><span class="dim">{t}</span></div>' for css, b, t in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _figure(plot: Plot) -> str:
    keys = "".join(f'<span><i class="{css}"></i>{escape(name)}</span>' for css, name in plot.legend)
    return f'<figure class="card"><h2>{escape(plot.title)}</h2><div class="legend">{keys}</div>{plot.svg}</figure>'


def _remarks(report: Report) -> str:
    return "".join(f'<p class="card note">{_e(remark)}</p>' for remark in report.remarks)


def _times(report: Report) -> str:
    head, *rows = times(report)
    return _section("Times", _table(head, rows)) if rows else ""


def _failures(report: Report) -> str:
    if not report.errors:
        return ""
    head = '<tr><th class="left">kind</th><th class="left">what it is</th><th>status</th><th class="left">code</th>'
    head += '<th>count</th><th class="left">the first of them</th></tr>'
    rows = "".join(
        f"<tr><td>{_e(error.kind)}</td><td class='text dim'>{_e(MEANINGS[error.kind])}</td>"
        f"<td>{error.status or ''}</td><td class='text'>{_e(error.code)}</td><td>{error.count:,}</td>"
        f"<td class='text'>{_e(error.message)}</td></tr>"
        for error in report.errors
    )
    return _section("Failures", f"<table>{head}{rows}</table>")


def _settings(report: Report) -> str:
    plan, about, tester = report.plan, report.about, report.tester
    rows = [
        ("target", f"{about.target} ({'through a client proxy' if about.through == 'client' else 'straight'})"),
        ("request", f"POST {about.path}, cost {about.cost:g}, from {about.benchmark}"),
        ("statuses", ", ".join(f"{status}: {count:,}" for status, count in report.statuses.items()) or "none"),
        ("received", f"{report.tokens:,} tokens, {size(report.bytes)} ({size(report.bytes_per_second)}/s)"),
        ("took", f"{duration(report.seconds)}; timeout {plan.timeout:g} s, warm-up {plan.warmup}, seed {about.seed}"),
        ("tester", f"{tester.cpu:.0%} of a core, at most {duration(tester.lag)} behind, {tester.late} requests late"),
        ("made by", f"vespa-proxy {about.vespa}"),
    ]
    return _section("The test", f"<dl>{''.join(f'<dt>{name}</dt><dd>{_e(text)}</dd>' for name, text in rows)}</dl>")


def _section(title: str, content: str) -> str:
    return f'<section class="card"><h2>{title}</h2>{content}</section>'


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{_e(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _e(text: str) -> str:
    return escape(printable(text))
