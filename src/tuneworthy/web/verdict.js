// The verdict, and the verdict for other values of the project file; nothing here is saved.
"use strict";
(() => {
  const { html, useState, useEffect, useRef, useApi, DataTable, Loaded, Fault, views, words } = window.tuneworthy;
  const WAIT_MS = 150;
  // The traffic slider is logarithmic: requests a month from 100 to 100 million.
  const [LOW, HIGH] = [2, 8];
  const rounded = (value) => Number(value.toPrecision(2));

  // A number that may differ from the project file; an empty field means the value of the file.
  function Field({ name, label, unit, base, value, set, step = "any", max, slider }) {
    const now = value ?? base;
    return html`<div class=${`value ${value !== undefined ? "changed" : ""}`}>
      <label for=${`what-if-${name}`}>${label} <small>${unit}</small></label>
      ${slider && html`<input type="range" aria-label=${`${label}, slider`} min=${slider.min} max=${slider.max}
        step=${slider.step} value=${slider.to(now ?? 0)}
        onInput=${(event) => set(String(slider.from(Number(event.target.value))))} />`}
      <input id=${`what-if-${name}`} type="number" min="0" max=${max} step=${step} value=${now ?? ""}
        placeholder=${base == null ? "not set" : ""}
        aria-describedby=${value === undefined ? undefined : `base-${name}`}
        onInput=${(event) => set(event.target.value)} />
      ${value !== undefined && html`<small id=${`base-${name}`} class="base">not saved; the file has
        ${" "}${base == null ? "no value" : base}</small>`}
    </div>`;
  }

  function WhatIf({ values, query, go }) {
    const [draft, setDraft] = useState(query), timer = useRef(0);
    useEffect(() => setDraft(query), [JSON.stringify(query)]);
    const set = (name, base) => (text) => {
      const next = { ...draft };
      if (text === "" || Number(text) === base) delete next[name]; else next[name] = text;
      setDraft(next);
      clearTimeout(timer.current);
      timer.current = setTimeout(() => go(next, { replace: true }), WAIT_MS);
    };
    const field = (name, base, more) => html`<${Field} key=${name} name=${name} base=${base} value=${draft[name]}
      set=${set(name, base)} ...${more} />`;
    return html`<section class="what-if" aria-labelledby="what-if">
      <h2 id="what-if">What if</h2>
      <p class="muted">Change a value to see the verdict that it gives. The project file stays as it is.</p>
      ${field("target", values.target, { label: "Target", unit: "score, 0 to 1", step: 0.005, max: 1,
        slider: { min: 0, max: 1, step: 0.005, to: Number, from: Number } })}
      ${field("traffic", values.traffic, { label: "Traffic", unit: "requests a month",
        slider: { min: LOW, max: HIGH, step: 0.05, to: (value) => Math.log10(Math.max(10 ** LOW, value)),
          from: (value) => rounded(10 ** value) } })}
      <fieldset><legend>Prices <small>US dollars a million tokens</small></legend>
        ${values.models.map((one) => html`<div class="prices" key=${one.model}><span>${one.model}</span>
          ${["input", "output"].map((side) => field(`${side}:${one.model}`, one[side], { label: side,
            unit: html`<span class="hidden">of ${one.model}</span>` }))}</div>`)}
      </fieldset>
      <button type="button" disabled=${!Object.keys(draft).length} onClick=${() => go({}, { replace: true })}>
        Reset to the project file</button>
    </section>`;
  }

  function Unsaved({ found }) {
    return html`<div class="unsaved" role="note"><p><strong>Not saved.</strong> This is the answer for other values.
      To keep them, set these lines in tuneworthy.toml, then run ${found.repeat && html`<code>tuneworthy run</code>,
      which repeats the run from its stored answers, and `} <code>tuneworthy decide</code>.
      ${found.repeat && found.lines.includes("[models.")
        && " At other prices, that run may choose other candidates."}</p>
      <pre tabindex="0" aria-label="Lines for tuneworthy.toml">${found.lines}</pre></div>`;
  }

  function Gates({ gates }) {
    return gates.map((part) => html`<${DataTable} table=${part.table} title=${`Gates ${part.stage}`} more=${{
      heading: "evidence",
      cell: (place) => part.evidence[place].length > 0 && html`<details><summary>numbers</summary><dl class="pairs">
        ${part.evidence[place].map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></details>`,
    }} />`);
  }

  function List({ title, lines }) {
    return lines.length > 0 && html`<h3>${title}</h3><ul>${lines.map((line) => html`<li>${line}</li>`)}</ul>`;
  }

  function Answer({ found }) {
    return html`<div class="outcome">
      <h1>${found.answer}</h1>
      <p class="lead">${found.sentence}</p>
      ${found.lines && html`<${Unsaved} found=${found} />`}
      <dl class="cards">${found.recommendations.map((one) => html`<div><dt>${one.label}</dt>
        <dd><strong>${one.option || "none"}</strong>${one.option && html`<br />${one.score}
          <small> 95% interval ${one.interval}</small>`}</dd></div>`)}
        <div><dt>Valid until</dt><dd><strong>${found.valid_until || "–"}</strong></dd></div></dl>
      ${found.after.length > 0 && html`<p>Recommended once these gates pass: ${found.after.map(words).join(", ")}.</p>`}
      <h2>Next</h2>
      <p>${found.next.why}</p>${found.next.command && html`<p><code>${found.next.command}</code></p>`}
    </div>`;
  }

  function Evidence({ found }) {
    return html`
      ${found.options.map((table) => html`<${DataTable} table=${table} mark="recommended" level=${2} />`)}
      ${[found.money, ...found.details].map((line) => html`<p>${line}</p>`)}
      <h2>Evidence</h2>
      <${List} title="Reasons" lines=${found.reasons} />
      <${List} title="Changed since it was measured" lines=${found.stale} />
      <${Gates} gates=${found.gates} />
      <${DataTable} table=${found.training} />${found.method && html`<p>${found.method}</p>`}
      <${List} title="Each of these would change the answer" lines=${found.would_change} />`;
  }

  function Verdict({ query, go }) {
    const state = useApi("verdict", query), changed = Object.keys(query).length > 0, last = useRef(null);
    last.current = state.data || last.current; // the fields stay where a value is refused
    if (!last.current) return html`<h1>Verdict</h1><${Loaded} state=${state} />${changed && state.error && html`
      <p><button type="button" onClick=${() => go({}, { replace: true })}>Reset to the project file</button></p>`}`;
    return html`<div class="verdict">
      <div aria-live="polite" aria-busy=${state.loading}>
        ${state.error ? html`<${Fault} error=${state.error} />` : html`<${Answer} found=${last.current} />`}</div>
      <${WhatIf} values=${last.current.values} query=${query} go=${go} />
      <div class="evidence">${!state.error && html`<${Evidence} found=${last.current} />`}</div></div>`;
  }

  views.verdict = { title: "Verdict", component: Verdict };
})();
