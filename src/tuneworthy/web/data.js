// The training data: the funnel of a build, and its dropped rows with their reasons.
"use strict";
(() => {
  const { html, useState, useApi, api, DataTable, Loaded, LongText, Fault, views, words } = window.tuneworthy;

  // A row that a person dropped can come back; the decision goes into the log of the terminal.
  function Restore({ version, row, done, changed }) {
    const [error, setError] = useState(null);
    if (done) return html`<p role="status">Restored. The next <code>tuneworthy data build</code> has this row.</p>`;
    const restore = () => api("data/restore", { body: { version, row } }).then(changed, setError);
    return html`<button type="button" onClick=${restore}>Restore</button>${error && html`<${Fault} error=${error} />`}`;
  }

  function Row({ row, version, changed }) {
    return html`<li class="dropped-row"><p><strong>${row.source}</strong>
        ${row.detail && html` <span>${row.detail}</span>`}${row.other && html` <span>repeats ${row.other}</span>`}</p>
      <${LongText} text=${row.question} limit=${600} />
      ${row.answer && html`<p class="muted">Answer</p><${LongText} text=${row.answer} limit=${600} />`}
      ${row.row && html`
        <${Restore} version=${version} row=${row.row} done=${row.restored} changed=${changed} />`}</li>`;
  }

  function Pages({ found, turn }) {
    const pages = Math.max(1, Math.ceil(found.n / found.size));
    return pages > 1 && html`<nav class="pages" aria-label="Pages of dropped rows">
      <button type="button" disabled=${found.page === 0} onClick=${() => turn(found.page - 1)}>Previous</button>
      <span>Page ${found.page + 1} of ${pages}</span>
      <button type="button" disabled=${found.page + 1 >= pages} onClick=${() => turn(found.page + 1)}>Next</button>
    </nav>`;
  }

  function Dropped({ version, part, query, go }) {
    const [n, setN] = useState(0);
    const at = { version, check: part.check, reason: part.reason, page: query.page || 0 };
    const state = useApi("data/dropped", at, [n]);
    const turn = (page) => go({ ...query, page }, { replace: true });
    return html`<${Loaded} state=${state}>${(found) => html`
      <p>${part.n.toLocaleString("en")} rows: ${part.words}. Texts are masked.</p>
      ${found.keep && html`<p>To keep such rows in the next build, set in tuneworthy.toml:</p>
        <pre tabindex="0" aria-label="Lines for tuneworthy.toml">${found.keep}</pre>`}
      <${Pages} found=${found} turn=${turn} />
      <ul class="dropped">${found.rows.map((row) => html`<${Row} key=${row.source + row.row} row=${row}
        version=${version} changed=${() => setN(n + 1)} />`)}</ul>
      <${Pages} found=${found} turn=${turn} />`}<//>`;
  }

  function DroppedRows({ found, query, go }) {
    if (!found.reasons.length) return html`<h2>Dropped rows</h2><p>The checks dropped no row.</p>`;
    const name = (one) => `${one.check}/${one.reason}`, key = query.reason || name(found.reasons[0]);
    const part = found.reasons.find((one) => name(one) === key);
    return html`<h2>Dropped rows</h2>
      <label for="reason">Check and reason </label>
      <select id="reason" value=${key} onChange=${(event) => go({ ...query, page: "", reason: event.target.value })}>
        ${found.reasons.map((one) => html`<option value=${name(one)} selected=${name(one) === key}>
          ${words(one.check)}: ${words(one.reason)} (${one.n})</option>`)}</select>
      ${part && html`<${Dropped} version=${found.version} part=${part} query=${query} go=${go} />`}`;
  }

  function Data({ query, go }) {
    const state = useApi("data", { version: query.version });
    return html`<h1>Data</h1><${Loaded} state=${state}>${(found) => (!found.version ? html`
      <p>There is no training data yet. Run <code>${found.command}</code>.</p>` : html`
      <p class="lead">${found.answer}.</p><p>${found.sentence}</p>
      ${found.versions.length > 1 ? html`<p><label for="version">Version </label>
        <select id="version" value=${found.version} onChange=${(event) => go({ version: event.target.value })}>
          ${found.versions.map((one) => html`<option value=${one.id} selected=${one.id === found.version}>
            ${one.id}, ${one.created.slice(0, 10)}, ${one.rows} rows</option>`)}</select></p>` : html`
      <p class="muted">${found.basis}</p>`}
      ${found.warnings.map((line) => html`<p role="note">${line}</p>`)}
      <${DataTable} table=${found.tables[0]} level=${2} />
      <${DroppedRows} found=${found} query=${query} go=${go} />
      <${DataTable} table=${found.sources} level=${2} />
      ${found.unread.length > 0 && html`<h3>Rows that were not imported</h3>
        <ul>${found.unread.map((line) => html`<li>${line}</li>`)}</ul>`}
      ${found.tables.slice(1).map((table) => html`<${DataTable} table=${table} level=${2} />`)}
      ${found.next && html`<h2>Next</h2><p>${found.next.why}</p><p><code>${found.next.command}</code></p>`}`)}<//>`;
  }

  views.data = { title: "Data", component: Data };
})();
