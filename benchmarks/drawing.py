"""A curve as a picture, readable in light and dark."""

from collections.abc import Mapping

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 70, 48, 24

_STYLE = """
    svg { color: #1c2733; background: #fff; font: 13px system-ui, sans-serif }
    .grid { stroke: #8884; } .line { stroke: #0b7285; fill: none; stroke-width: 2.5 } .dot { fill: #0b7285 }
    text { fill: currentColor }
    @media (prefers-color-scheme: dark) {
        svg { color: #e6edf3; background: #0d1117 } .line { stroke: #3bc9db } .dot { fill: #3bc9db }
    }
"""


def curve(across: str, up: str, found: Mapping[int, float]) -> str:
    """SVG; the steps across are as they are given, evenly apart, and the height begins at nothing."""
    top = max(found.values()) * 1.15
    step = (WIDTH - LEFT - 40) / max(1, len(found) - 1)
    places = [(LEFT + n * step, _height(value, top)) for n, value in enumerate(found.values())]
    parts = [f'<path class="line" d="M{" L".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>']
    for (x, y), (number, value) in zip(places, found.items(), strict=True):
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{value:,.0f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number:,}</text>')
    grid = "".join(
        f'<line class="grid" x1="{LEFT - 10}" x2="{WIDTH - 20}" y1="{_height(top * n / 4, top):.1f}" '
        f'y2="{_height(top * n / 4, top):.1f}"/>'
        for n in range(5)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{up} by {across}"><style>{_STYLE}</style>{grid}{"".join(parts)}'
        f'<text x="{LEFT - 10}" y="16">{up}</text>'
        f'<text x="{WIDTH - 20}" y="{HEIGHT - 8}" text-anchor="end">{across}</text></svg>\n'
    )


def _height(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)
