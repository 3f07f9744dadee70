// A table of the report: the cells come from the server as text, and are drawn as text.
"use strict";
(() => {
  const { html } = window.tuneworthy;

  const words = (text) => text.replaceAll("_", " ");
  const shown = (column, cell) => (column.kind === "status" ? words(cell) : cell);

  // `mark` names the best row; `more` returns what follows the last cell of a row, such as evidence or a button.
  function DataTable({ table, title = table.title, mark = "", more, level = 3 }) {
    if (!table.rows.length) return null;
    const id = `table-${title.replace(/\W+/g, "-")}`;
    return html`
      <${`h${level}`} id=${id}>${title}<//>
      <div class="scroll" tabindex="0" role="region" aria-labelledby=${id}>
        <table class="data">
          <thead><tr>${table.columns.map((one) => html`<th scope="col" class=${`is-${one.kind}`}>${one.heading}</th>`)}
            ${table.bars && html`<td class="bar"></td>`}
            ${more && html`<th scope="col">${more.heading}</th>`}</tr></thead>
          <tbody>${table.rows.map((row, place) => html`
            <tr class=${place === table.best ? "best" : ""}>
              ${row.map((cell, i) => (i ? html`
                <td class=${`is-${table.columns[i].kind} ${table.columns[i].kind === "status" ? `is-${cell}` : ""}`}>
                  ${shown(table.columns[i], cell)}</td>` : html`
                <th scope="row" class=${`is-${table.columns[i].kind}`}>${shown(table.columns[i], cell)}
                  ${mark && place === table.best && html` <span class="mark">${mark}</span>`}</th>`))}
              ${table.bars && html`<td class="bar">${table.bars[place] && html`
                <div class=${table.bars[place].kind} style=${{ width: `${table.bars[place].width}%` }}></div>`}</td>`}
              ${more && html`<td>${more.cell(place)}</td>`}
            </tr>`)}</tbody>
        </table>
      </div>
      ${table.note && html`<p class="note">${table.note}</p>`}`;
  }

  // Loading and failure of a read, then its content; what was there stays while a new answer is on its way.
  function Loaded({ state, children }) {
    const { Fault } = window.tuneworthy;
    return html`${state.error && html`<${Fault} error=${state.error} />`}
      ${!state.data && state.loading && html`<p class="muted" role="status">Loading…</p>`}
      ${state.data && children(state.data)}`;
  }

  Object.assign(window.tuneworthy, { DataTable, Loaded, words });
})();
