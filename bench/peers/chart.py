"""Chart: the picture of what was measured, for README."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from statistics import median
from textwrap import wrap

from bench.peers.report import FEW, At, Measured, speed
from bench.peers.servers import Ours
from bench.peers.upstream import Question

WIDTH, LABELS, BARS, BAR, STEP = 860, 210, 520, 14, 22
STYLE = """
    text { fill: #2e3440; }
    .head { font-weight: 600; font-size: 15px; }
    .small { font-size: 11px; fill: #4c566a; }
    .ours { font-weight: 600; }
    .bar { fill: #a9b8cc; }
    .bar.ours { fill: #2f6db0; }
    .spread { stroke: #3b4252; stroke-width: 1.2; }
"""


def drawn(measured: Measured, peers: Sequence[str], questions: Mapping[str, Question], machine: str) -> str:
    body, y = [f'<text x="24" y="32" class="head">Requests per CPU second, {FEW} connections</text>'], 62
    for name, question in questions.items():
        body += [f'<text x="24" y="{y}" class="head">{escape(question.title)}</text>']
        body += _panel(measured, sorted(peers, key=lambda peer: -speed(measured, peer, name)), name, y + 12)
        y += STEP * len(peers) + 46
    for line in wrap(f"Bars are medians, lines from the least to the most. {machine}", 135):
        body += [f'<text x="24" y="{y}" class="small">{escape(line)}</text>']
        y += 15
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}"'
    return "\n".join(
        [
            f'{head} font-family="system-ui, sans-serif" font-size="13">',
            "  <title>Requests per CPU second of Switchboard and of its peers</title>",
            f"  <style>{STYLE}  </style>",
            f'  <rect width="{WIDTH}" height="{y}" fill="#fbfcfd"/>',
            *(f"  {line}" for line in body),
            "</svg>\n",
        ]
    )


def _panel(measured: Measured, peers: Sequence[str], question: str, y: int) -> Iterator[str]:
    """A bar for each, the longest as long as there is room."""
    figures = {
        peer: [window.per_cpu_second for window in measured[At(peer, question, FEW)]] for peer in peers
    }
    scale = BARS / max(map(max, figures.values()))
    for peer, found in figures.items():
        kind, at = " ours" if peer == Ours.name else "", f'y="{y + 12}"'
        least, middle, most = (LABELS + scale * figure for figure in (min(found), median(found), max(found)))
        yield f'<text x="{LABELS - 8}" {at} text-anchor="end" class="{kind.strip()}">{escape(peer)}</text>'
        yield f'<rect x="{LABELS}" y="{y}" width="{middle - LABELS:.1f}" height="{BAR}" class="bar{kind}"/>'
        yield f'<path d="M{least:.1f} {y + BAR / 2}H{most:.1f}" class="spread"/>'
        yield f'<text x="{most + 8:.1f}" {at} class="{kind.strip()}">{median(found):,.0f}</text>'
        y += STEP
