// The label page: its answers stay in this browser until they are downloaded.
"use strict";
(() => {
  const { html, render, useState, queue } = window.tuneworthy;
  const content = JSON.parse(document.getElementById("data").textContent);
  const key = `tuneworthy-label-${content.plan}`;
  let kept = true;
  function stored(name, usual) {
    try {
      return JSON.parse(localStorage.getItem(name)) || usual;
    } catch {
      kept = false;
      return usual;
    } // storage may be off, or full of something else
  }
  const known = new Set(content.rows.map((row) => row.id));
  const load = () => [].concat(stored(key, [])).filter((one) => known.has(one?.row));
  function store(name, value) {
    try {
      localStorage.setItem(name, JSON.stringify(value));
      kept = true;
    } catch {
      kept = false;
    }
  }
  let answers = load();
  store(key, answers);
  const typed = stored(`${key}-typed`, {}); // comments and answers that were not saved yet

  function download() {
    const head = { plan: content.plan, kind: content.kind, labeller: content.labeller, n: answers.length };
    const text = [head, ...answers].map((one) => `${JSON.stringify(one)}\n`).join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
    link.download = content.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
  // Another tab may have stored answers since; without storage there is this page only.
  const others = (row) => (kept ? load() : answers).filter((one) => one.row !== row);

  function Page() {
    const [n, count] = useState(answers.length);
    const [saved, setSaved] = useState(kept),
      [sent, setSent] = useState(0);
    const write = (next) => {
      answers = next;
      store(key, answers);
      count(answers.length);
      setSaved(kept);
    };
    const get = () => {
      download();
      setSent(answers.length);
    };
    const button = html`<button type="button" class="download" onClick=${get} disabled=${!n}>
      Download answers (${n})</button>`;
    return html`<main id="main">
      <h1>${content.title}</h1>
      <p class="muted">You are ${content.labeller}. ${
        saved
          ? "Answers are saved in this browser."
          : html`<strong>This browser does not save answers: download them before you close the page.</strong>`
      } ${sent > 0 && html`<span role="status">A file with ${sent} answers is in your downloads: send it back.</span>`}</p>
      <${queue.Queue} content=${content} given=${answers} tools=${button}
        typed=${typed} keepTyped=${(next) => store(`${key}-typed`, next)}
        save=${async (answer) => write([...others(answer.row), answer])}
        undo=${async (answer) => {
          if (!answer) throw new Error("There is no answer of yours to take back.");
          write(others(answer.row));
        }}
        end=${html`<p>Download the answers, and send the file to the person who sent you this page.</p><p>${button}</p>`} />
    </main>`;
  }
  render(html`<${Page} />`, document.getElementById("app"));
})();
