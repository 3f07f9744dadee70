// Every run, newest first, and the score over the runs.
"use strict";
(() => {
  const { html, useApi, DataTable, Loaded, percent, views } = window.tuneworthy;
  const [WIDTH, HEIGHT, LEFT, RIGHT, EDGE] = [720, 180, 46, 60, 16];

  // Scores with their intervals, one point a run, oldest first; the table has the same numbers.
  function ScoreChart({ runs, target }) {
    const ends = [...runs.flatMap((one) => [one.score, ...(one.ci95 || [])]), ...(target == null ? [] : [target])];
    const low = Math.max(0, Math.floor(Math.min(...ends) * 10 - 0.2) / 10);
    const high = Math.min(1, Math.ceil(Math.max(...ends) * 10 + 0.2) / 10);
    const x = (place) => LEFT + (WIDTH - LEFT - RIGHT) * (runs.length > 1 ? place / (runs.length - 1) : 0.5);
    const y = (value) => EDGE + (HEIGHT - 2 * EDGE) * (1 - (value - low) / (high - low || 1));
    const line = (value, className) => html`<line class=${className} x1=${LEFT} x2=${WIDTH - RIGHT}
      y1=${y(value)} y2=${y(value)} />`;
    const label = (value) => html`<text x=${LEFT - 6} y=${y(value) + 4} text-anchor="end">${percent(value, 0)}</text>`;
    return html`<svg class="chart" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img"
        aria-label="Best variant by run, with its 95% interval">
      ${line(low, "axis")}${line(high, "axis")}${label(low)}${label(high)}
      ${target != null && html`${line(target, "target")}<text x=${WIDTH - RIGHT + 6} y=${y(target) + 4}>target</text>`}
      <polyline class="line" points=${runs.map((one, place) => `${x(place)},${y(one.score)}`).join(" ")} />
      ${runs.map((one, place) => html`<g><title>${one.time}: ${percent(one.score)}</title>
        ${one.ci95 && html`<line class="interval" x1=${x(place)} x2=${x(place)}
          y1=${y(one.ci95[0])} y2=${y(one.ci95[1])} />`}
        <circle cx=${x(place)} cy=${y(one.score)} r="4" /></g>`)}
    </svg>`;
  }

  function History() {
    const state = useApi("history");
    return html`<h1>History</h1><${Loaded} state=${state}>${(found) => html`
      ${found.unfinished.map((line) => html`<p role="note">${line}</p>`)}
      ${!found.table.rows.length && html`<p>No run is finished yet. Run <code>tuneworthy run</code>.</p>`}
      ${found.chart.length > 1 && html`<h2>Best variant: ${found.measure} by run</h2>
        <${ScoreChart} runs=${found.chart} target=${found.target} />`}
      <${DataTable} table=${found.table} level=${2} />`}<//>`;
  }

  views.history = { title: "History", component: History };
})();
