// The run and the training in progress; read again every two seconds while something runs and the page is visible.
"use strict";
(() => {
  const { html, useState, useEffect, useApi, DataTable, Loaded, views } = window.tuneworthy;
  const PAUSE_MS = 2000;

  function Facts({ facts }) {
    return html`<dl class="pairs">${facts.map(([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>`)}</dl>`;
  }

  function Bar({ part, label }) {
    return part.planned > 0 && html`<progress max=${part.planned} value=${part.done} aria-label=${label}>
      ${part.done} of ${part.planned}</progress>`;
  }

  function Run({ run }) {
    return html`<section><h2>${run.kind}</h2><p>${run.state}.</p>
      <${Bar} part=${run} label="Finished rungs" /><${Facts} facts=${run.facts} />
      ${!run.running && html`<p>To continue, run <code>tuneworthy run</code>.</p>`}
      <${DataTable} table=${run.rungs} title="Rungs so far" />
      <${DataTable} table=${run.candidates} title="Candidates so far" />
    </section>`;
  }

  function Training({ training }) {
    return html`<section><h2>Training</h2><p>Status: ${training.status}.</p>
      <${Bar} part=${training} label="Progress of the phase" /><${Facts} facts=${training.facts} />
      ${training.next && html`<p>To continue, run <code>${training.next}</code>.</p>`}</section>`;
  }

  function Live() {
    const [turn, setTurn] = useState(0), [visible, setVisible] = useState(!document.hidden);
    const state = useApi("live", {}, [turn]), running = Boolean(state.data?.running);
    useEffect(() => {
      const changed = () => { setVisible(!document.hidden); if (!document.hidden) setTurn((n) => n + 1); };
      document.addEventListener("visibilitychange", changed);
      return () => document.removeEventListener("visibilitychange", changed);
    }, []);
    useEffect(() => {
      if (!visible || state.loading || !running) return undefined;
      const timer = setTimeout(() => setTurn((n) => n + 1), PAUSE_MS);
      return () => clearTimeout(timer);
    }, [visible, running, state.loading, turn]);
    return html`<h1>Live</h1><${Loaded} state=${state}>${(found) => html`
      <p role="status">${found.process || "Nothing runs in this project."}</p>
      ${!running && html`<p><button type="button" onClick=${() => setTurn(turn + 1)}>Look again</button></p>`}
      ${found.run && html`<${Run} run=${found.run} />`}
      ${found.training && html`<${Training} training=${found.training} />`}
    `}<//>`;
  }

  views.live = { title: "Live", component: Live };
})();
