// The queue in `ui`: which queues have rows, and one of them; the server stores each answer.
"use strict";
(() => {
  const { html, useState, useEffect, useApi, useTurn, api, views, queue, Fault, coded } = window.tuneworthy;

  const TASKS = {
    cases: "Label cases",
    drafts: "Accept, edit or drop drafted cases",
    judge: "Rate answers",
    suspects: "Relabel suspected cases",
    shadow: "Label sessions of a replay",
    review: "Review training rows",
    findings: "Decide about reported rows",
  };

  function Picker({ go }) {
    const { data, error } = useApi("queues");
    if (error) return html`<${Fault} error=${error} />`;
    if (!data) return html`<p role="status">Counting the rows that wait…</p>`;
    return html`<h1>Rows that wait for a person</h1>${
      data.queues.length
        ? html`<ul class="queues">${data.queues.map(
            ({ kind, rows, why }) => html`
      <li><button type="button" onClick=${() => go({ kind })}>${TASKS[kind]} (${rows.toLocaleString("en")})</button> ${coded(why)}</li>`,
          )}</ul>`
        : html`<p>No row waits for you.</p>`
    }
      ${
        data.queues.every(({ kind }) => kind !== "cases") &&
        html`<p><button type="button" onClick=${() => go({ kind: "cases" })}>
        Label cases as a second person</button> Blind: the agreement shows how reliable the labels are.</p>`
      }
      <p><button type="button" onClick=${() => go({ kind: "audit" })}>Audit the test labels</button> Relabel a random sample of
        the test cases, to estimate how many labels are wrong.</p>`;
  }

  function Opened({ kind, go }) {
    const [content, set] = useState(null),
      [error, setError] = useState(null),
      [end, setEnd] = useState(null);
    const turn = useTurn();
    useEffect(() => {
      const opened = (found) => [set(found), setError(null)];
      if (!content) api("queue/open", { body: { kind } }).then(opened, setError);
    }, [turn]);
    const back = html`<p><button type="button" onClick=${() => go({})}>Other queues</button></p>`;
    if (error) return html`<${Fault} error=${error} />${back}`;
    if (!content) return html`<p role="status">Opening the queue…</p>`;
    async function save({ row, hash, line, seconds, comment, disputed }) {
      const found = await api("queue/answer", { body: { kind, row, hash, line, seconds, comment, disputed } });
      setEnd(found.left ? null : found);
      return found;
    }
    const undo = () => api("queue/undo", { body: { kind } });
    return html`<h1>${content.title}</h1><p class="muted">You are ${content.labeller}. Every answer is saved at once; u takes the last one back.</p>
      <${queue.Queue} content=${content} given=${[]} save=${save} undo=${undo} finished=${end !== null}
        end=${html`${end && html`<p>${end.agreement}</p><p>Next: <code>${end.next}</code></p>`}${back}`} />`;
  }

  views.queue = {
    title: "Queue",
    component: ({ query, go }) =>
      query.kind ? html`<${Opened} key=${query.kind} kind=${query.kind} go=${go} />` : html`<${Picker} go=${go} />`,
  };
})();
