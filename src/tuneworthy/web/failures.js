// Failures: two options side by side. The server filters and sorts; rows come in windows, long texts in parts.
"use strict";
(() => {
  const { html, useState, useEffect, useMemo, useRef, views, api, useApi, useTurn, isAway, Fault } = window.tuneworthy;
  const ROW = 76; // height of a row, px
  const WINDOW = 100; // rows of an answer of the server
  const SPARE = 6; // rows that are drawn above and below the visible ones
  const FILTERS = ["a", "b", "side", "show", "reason", "tag", "group", "search", "sort"];
  const SHOW = { all: "All", worse: "Got worse", better: "Got better", wrong: "Both wrong" };
  const SORT = { change: "What changed first", score: "Score", length: "Length", id: "ID" };
  const DIFF_CHARS = 20000; // characters of each answer that are compared
  const DIFF_EDITS = 600; // changed words, above which the comparison is by line: its time grows with the square

  const number = (value) => value.toLocaleString("en");
  const score = (value) => (value == null ? "–" : String(Math.round(value * 100) / 100));
  const change = (a, b) => (a == null || b == null || a === b ? "" : b < a ? "worse" : "better");

  // Marks the tokens that both lists have in order: [0 or 1 for each of a, the same for b]; null above the limit.
  // Source: Myers 1986, the greedy algorithm.
  function changed(a, b) {
    let start = 0;
    let end = 0;
    while (start < Math.min(a.length, b.length) && a[start] === b[start]) start += 1;
    while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
    const [n, m] = [a.length - start - end, b.length - start - end];
    const limit = Math.min(n + m, DIFF_EDITS);
    const marks = [a, b].map((one) => new Uint8Array(one.length).fill(1, start, one.length - end));
    const reach = new Int32Array(2 * limit + 3);
    const middle = limit + 1;
    const before = (get, d, k) => (k === -d || (k !== d && get(k - 1) < get(k + 1)) ? k + 1 : k - 1);
    const trace = [];
    for (let d = 0; d <= limit; d += 1) {
      for (let k = -d; k <= d; k += 2) {
        const from = before((at) => reach[middle + at], d, k);
        let x = from > k ? reach[middle + from] : reach[middle + from] + 1;
        if (d === 0) x = 0;
        while (x < n && x - k < m && a[start + x] === b[start + x - k]) x += 1;
        reach[middle + k] = x;
        if (x >= n && x - k >= m) {
          let [at, other] = [n, m];
          for (let step = d; step >= 0; step -= 1) {
            const get = (place) => trace[step - 1][place + step - 1];
            const origin = step ? before(get, step, at - other) : 0;
            const [oldAt, oldOther] = step ? [get(origin), get(origin) - origin] : [0, 0];
            while (at > oldAt && other > oldOther) {
              at -= 1;
              other -= 1;
              marks[0][start + at] = marks[1][start + other] = 0;
            }
            [at, other] = [oldAt, oldOther];
          }
          return marks;
        }
      }
      trace.push(reach.slice(middle - d, middle + d + 1));
    }
    return null;
  }

  const WORDS = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]|[\p{L}\p{M}\p{N}_]+|\s+|[^]/gu;
  const LINES = /[^\n]*\n|[^\n]+$/g;

  // The differences of two texts: {a: [[text, whether it differs], ...], b: the same, note}.
  function compare(a, b) {
    const cut = Math.max(a.length, b.length) > DIFF_CHARS;
    const texts = [a.slice(0, DIFF_CHARS), b.slice(0, DIFF_CHARS)];
    for (const [pattern, unit] of [[WORDS, "word"], [LINES, "line"]]) {
      const tokens = texts.map((text) => text.match(pattern) || []);
      const marks = changed(...tokens);
      if (!marks) continue;
      const [left, right] = tokens.map((list, side) => list.reduce((runs, token, i) => {
        const differs = marks[side][i] === 1;
        if (runs.length && runs[runs.length - 1][1] === differs) runs[runs.length - 1][0].push(token);
        else runs.push([[token], differs]);
        return runs;
      }, []).map(([list2, differs]) => [list2.join(""), differs]));
      const note = cut ? `Compared by ${unit}: the first ${number(DIFF_CHARS)} characters.`
        : unit === "line" ? "Compared by line, because the answers differ in many words." : "";
      return { a: [...left, [a.slice(DIFF_CHARS), false]], b: [...right, [b.slice(DIFF_CHARS), false]], note };
    }
    return { a: [[a, false]], b: [[b, false]], note: "The answers differ too much to compare them." };
  }

  const filtersOf = (query) => Object.fromEntries(
    FILTERS.filter((name) => query[name]).map((name) => [name, query[name]]));

  // A page that opens with this view reads the list at once, while the shell reads the project.
  let early = null;
  const address = /^#\/failures(?:\?(.*))?$/.exec(location.hash);
  if (address) {
    const query = { ...filtersOf(Object.fromEntries(new URLSearchParams(address[1] || ""))), offset: 0 };
    early = { key: JSON.stringify(query), found: api("failures", { query }) };
    early.found.catch(() => {});
  }
  function readRows(query) {
    const found = early && early.key === JSON.stringify(query) ? early.found : api("failures", { query });
    early = null;
    return found;
  }

  // The list: rows by place, read as they come into view. While the server scores answers, it is asked again.
  function useRows(filters, version) {
    const [state, set] = useState({ data: null, rows: [], error: null, progress: null, load: () => {} });
    const turn = useTurn();
    useEffect(() => {
      const rows = [];
      const asked = new Set();
      let current = true;
      let timer = 0;
      const load = (offset) => {
        if (asked.has(offset)) return;
        asked.add(offset);
        readRows({ ...filters, offset }).then((found) => {
          if (!current) return;
          if (found.loading) {
            asked.delete(offset);
            timer = setTimeout(load, 250, offset);
            set((old) => ({ ...old, progress: found.loading }));
          } else {
            found.rows.forEach((row, i) => { rows[offset + i] = row; });
            set({ data: found, rows, error: null, progress: null, load });
          }
        }, (error) => current && set((old) => (isAway(error) && old.data ? old
          : { data: null, rows: [], error, progress: null, load: () => {} })));
      };
      load(0);
      return () => { current = false; clearTimeout(timer); };
    }, [JSON.stringify(filters), version, turn]);
    return state;
  }

  function Loading({ progress }) {
    const { what, done, total } = progress;
    return html`<p role="status">${what}… ${total > 0 && `${number(done)} of ${number(total)} cases`}</p>
      ${total > 0 && html`<progress max=${total} value=${done} aria-label=${what}></progress>`}`;
  }

  function Choice({ label, value, options, onChange }) {
    return html`<label class="choice"><span>${label}</span>
      <select value=${value} onChange=${(event) => onChange(event.target.value)}>
        ${options.map(([name, words]) => html`<option value=${name} selected=${name === value}>${words}</option>`)}
      </select></label>`;
  }

  // The options of a filter by what the matching cases have; a chosen value stays there if no case has it any more.
  const counted = (all, found, value) => [["", all], ...found.map(([name, n]) => [name, `${name} (${number(n)})`]),
    ...(value && !found.some(([name]) => name === value) ? [[value, `${value} (0)`]] : [])];

  function Filters({ data, query, change: put, search }) {
    const pair = ["a", "b"].map((side) => html`<${Choice} label=${side.toUpperCase()} value=${data[side].option}
      options=${data.options.map((one) => [one.option, one.option])} onChange=${(value) => put({ [side]: value })} />`);
    const sides = [["dev", "dev"], ["test", `revealed test (${number(data.revealed)})`],
      ["all", "dev and revealed test"]];
    return html`<form class="filters" onSubmit=${(event) => event.preventDefault()}>
      ${pair}
      <button type="button" onClick=${() => put({ a: data.b.option, b: data.a.option })}>Swap A and B</button>
      <${Choice} label="Cases" value=${query.side || "dev"} options=${sides} onChange=${(side) => put({ side })} />
      <${Choice} label="Sort by" value=${query.sort || "change"} options=${Object.entries(SORT)}
        onChange=${(sort) => put({ sort })} />
      <label class="choice wide"><span>Search</span><input type="search" ref=${search} value=${query.search || ""}
        placeholder="Question, expected, answers" onInput=${(event) => put({ search: event.target.value })} /></label>
      <${Choice} label="Reason" value=${query.reason || ""} options=${counted("Any", data.reasons, query.reason)}
        onChange=${(reason) => put({ reason })} />
      ${(data.tags.length > 0 || query.tag) && html`<${Choice} label="Tag" value=${query.tag || ""}
        options=${counted("Any", data.tags, query.tag)} onChange=${(tag) => put({ tag })} />`}
      <div class="statuses" role="group" aria-label="Show">${Object.entries(SHOW).map(([name, words]) => html`
        <button type="button" aria-pressed=${String((query.show || "all") === name)}
          onClick=${() => put({ show: name })}>${words} <span class="n">${number(data.counts[name])}</span></button>`)}
      </div></form>`;
  }

  function Groups({ data, query, change: put }) {
    const [all, set] = useState(false);
    const groups = all ? data.groups : data.groups.slice(0, 8);
    if (!groups.length && !query.group) return null;
    const words = data.is_label_task ? `Confusions of B (expected → answered)` : "Errors of B";
    const missing = query.group && !groups.some(([name]) => name === query.group) ? [[query.group, 0]] : [];
    return html`<div class="groups" role="group" aria-label=${words}><span class="muted">${words}</span>
      ${[...missing, ...groups].map(([name, n]) => html`<button type="button" dir="auto"
        aria-pressed=${String(query.group === name)} onClick=${() => put({ group: query.group === name ? "" : name })}
        ><span class="cut">${name}</span>${n > 0 && html` <span class="n">${number(n)}</span>`}</button>`)}
      ${data.groups.length > 8 && html`<button type="button" class="quiet" onClick=${() => set(!all)}>
        ${all ? "Show fewer" : `Show all ${number(data.groups.length)}`}</button>`}</div>`;
  }

  function Reveal({ data, query, done }) {
    const [open, set] = useState(false);
    const [error, fail] = useState(null);
    const { offset, case: _, ...filters } = { ...query, a: data.a.option, b: data.b.option };
    const reveal = () => api("failures/reveal", { body: filters }).then(() => { set(false); done(); }, fail);
    if (!data.hidden) return null;
    return html`<div class="reveal"><span>${number(data.hidden)} test cases are hidden.</span>
      ${!open && html`<button type="button" onClick=${() => set(true)}>Reveal test answers</button>`}
      ${open && html`<p>This reveals every test case with the chosen tag and the search words in its ID, question or
        expected answer, and records it. Filters by answers apply after that: the choice would reveal answers too. The
        test set is then no longer a fair measure of later changes, and later runs report it.</p>
        <button type="button" onClick=${reveal}>Reveal and record</button>
        <button type="button" onClick=${() => set(false)}>Cancel</button>`}
      ${error && html`<${Fault} error=${error} />`}</div>`;
  }

  function Row({ row, place, total, active, open, choose }) {
    const result = row && change(row.a.score, row.b.score);
    return html`<div role="option" id=${`row-${place}`} class=${`row${active ? " active" : ""}`}
      aria-selected=${String(open)} aria-posinset=${place + 1} aria-setsize=${total}
      style=${{ top: `${place * ROW}px`, height: `${ROW}px` }} onClick=${() => row && choose(place)}>
      ${!row ? html`<span class="muted">Loading…</span>` : html`
        <div class="line"><bdi class="id">${row.id}</bdi>
          ${row.side === "test" && html` <span class="badge">test</span>`}
          <span class="scores">${result && html`<span class=${`badge ${result}`}>${result}</span> `}
            ${[row.a, row.b].map((one, i) => html`<span class="muted">${"AB"[i]}</span> ${score(one.score)} `)}</span>
        </div>
        <div class="line question" dir="auto">${row.question}</div>
        <div class="line three"><span dir="auto">${row.expected}</span>${[row.a, row.b].map((one) => html`
          <span dir="auto" class=${one.score != null && one.score < 1 ? "bad" : ""}>${one.text}</span>`)}</div>`}
    </div>`;
  }

  function List({ state, active, openCase, choose, list }) {
    const { data, rows, load } = state;
    const [view, set] = useState({ top: 0, height: 600 });
    const measure = () => list.current && set({ top: list.current.scrollTop, height: list.current.clientHeight });
    useEffect(measure, [data]);
    useEffect(() => { if (list.current) list.current.scrollTop = 0; }, [load]);
    const first = Math.max(0, Math.floor(view.top / ROW) - SPARE);
    const last = Math.min(data.total, Math.ceil((view.top + view.height) / ROW) + SPARE);
    useEffect(() => {
      for (let at = first - (first % WINDOW); at < last; at += WINDOW) load(at);
    }, [first, last, load]);
    if (!data.total) return html`<p class="muted">No case matches these filters.</p>`;
    const shown = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
    return html`<div class="heads" aria-hidden="true"><span>Expected</span><span>A: ${data.a.option}</span>
      <span>B: ${data.b.option}</span></div>
      <div class="list" role="listbox" tabindex="0" aria-label="Cases" ref=${list} onScroll=${measure}
        aria-activedescendant=${active >= first && active < last ? `row-${active}` : undefined}>
        <div role="presentation" style=${{ height: `${data.total * ROW}px` }}>${shown.map((place) => html`
          <${Row} key=${place} row=${rows[place]} place=${place} total=${data.total} active=${place === active}
            open=${Boolean(rows[place]) && rows[place].id === openCase} choose=${choose} />`)}</div></div>`;
  }

  // A text that the server sends in parts: [the text so far, a button for the next part].
  function useParts(part, query) {
    const [state, set] = useState({ text: part.text, next: part.next, error: null });
    const more = () => api("failures/text", { query: { ...query, offset: state.next } }).then(
      (found) => set({ text: state.text + found.text, next: found.next, error: null }),
      (error) => set({ ...state, error }));
    const left = part.length - state.next;
    return [state.text, html`${left > 0 && html`<button type="button" class="more" onClick=${more}>
      Show more (${number(left)} characters)</button>`}${state.error && html`<${Fault} error=${state.error} />`}`];
  }

  function Parts({ part, query }) {
    const [text, more] = useParts(part, query);
    return html`<div class="text" dir="auto">${text}</div>${more}`;
  }

  function Folded({ title, part, query }) {
    const [open, set] = useState(false);
    if (!part || !part.length) return null;
    return html`<details onToggle=${(event) => set(event.target.open)}><summary>${title}
      <small> ${number(part.length)} characters</small></summary>
      ${open && html`<${Parts} part=${part} query=${query} />`}</details>`;
  }

  function Passages({ title, found, query }) {
    const [state, set] = useState({ rows: found.rows, next: found.next });
    const rest = { ...query, field: "passages", offset: state.next };
    const more = () => api("failures/text", { query: rest }).then(
      (next) => set({ rows: [...state.rows, ...next.rows], next: next.next }));
    return html`<details><summary>${title} <small>${number(found.length)}</small></summary>
      <ol class="passages">${state.rows.map((row) => html`<li key=${row.field}>
        <strong dir="auto">${row.document}</strong>
        ${row.heading && html` <span class="muted" dir="auto">${row.heading}</span>`}
        <${Parts} part=${row} query=${{ ...query, field: row.field }} /></li>`)}</ol>
      ${found.length > state.next && html`<button type="button" class="more" onClick=${more}>
        Show more (${number(found.length - state.next)} passages)</button>`}</details>`;
  }

  function Answers({ data }) {
    const [marked, set] = useState(true);
    const [left, right] = data.answers;
    const query = (one, field) => ({ case: data.id, option: one.option, field });
    const none = { text: "", next: 0, length: 0 };
    const [a, moreA] = useParts(left.text || none, query(left, "text"));
    const [b, moreB] = useParts(right.text || none, query(right, "text"));
    const both = left.stored && right.stored;
    const diff = useMemo(() => (marked && both && a !== b ? compare(a, b) : null), [a, b, marked]);
    const answer = (name, one, text, runs, more) => html`<section aria-label=${`Answer ${name}`}>
      <h3>${name}: ${one.option} <small dir="auto">${one.name}</small></h3>
      <p>${one.stored ? html`Score ${score(one.score)}` : "No answer is stored."}
        ${one.reason && html` <span class="muted" dir="auto">${one.reason}</span>`}</p>
      <div class="text box" dir="auto">${!runs ? text : runs.map(([words, differs]) => (!differs ? words
        : name === "A" ? html`<del>${words}</del>` : html`<ins>${words}</ins>`))}</div>${more}
      <${Folded} title="Thinking" part=${one.thinking} query=${query(one, "thinking")} />
      <${Folded} title="Grader's detail" part=${one.detail} query=${query(one, "detail")} /></section>`;
    const box = html`<label class="check"><input type="checkbox" checked=${marked}
      onChange=${(event) => set(event.target.checked)} /> Mark differences</label>`;
    return html`${both && (a === b ? html`<p class="muted">Both answers are the same.</p>` : box)}
      ${diff && diff.note && html`<p class="muted">${diff.note}</p>`}
      <div class="pair">${answer("A", left, a, diff && diff.a, moreA)}
        ${answer("B", right, b, diff && diff.b, moreB)}</div>`;
  }

  function Detail({ data, heading, close }) {
    const [left, right] = data.answers;
    const query = (one, field) => ({ case: data.id, option: one.option, field });
    const documents = ({ passages }) => JSON.stringify([passages.length, passages.rows]);
    const shared = documents(left) === documents(right);
    return html`<h2 tabindex="-1" ref=${heading}>Case <bdi>${data.id}</bdi></h2>
      <button type="button" class="close" onClick=${close}>Close</button>
      <p class="muted">${[data.side, ...data.tags].map((tag) => html`<span class="badge" dir="auto">${tag}</span> `)}
        ${data.documents.length > 0 && html`Documents with the answer: ${data.documents.slice(0, 20).join(", ")}`}</p>
      <h3>Question</h3><${Parts} part=${data.question} query=${query(left, "question")} />
      <h3>Expected</h3><${Parts} part=${data.expected} query=${query(left, "expected")} />
      ${data.answers.map((one, i) => one.passages.length > 0 && !(i && shared) && html`
        <${Passages} found=${one.passages} title=${shared ? "Passages" : `Passages of ${"AB"[i]}`}
          query=${query(one)} />`)}
      <${Answers} data=${data} />`;
  }

  function CasePane({ id, a, b, version, heading, close }) {
    const { data, error } = useApi("failures/case", { case: id, a, b }, [version]);
    const here = data && data.id === id && data.answers.map((one) => one.option).join() === [a, b].join();
    useEffect(() => {
      if (!here || !heading.current || !heading.wanted) return;
      heading.wanted = false;
      heading.current.focus();
    });
    if (error) return html`<${Fault} error=${error} />`;
    return here ? html`<${Detail} key=${[id, a, b].join("\n")} data=${data} heading=${heading} close=${close} />`
      : html`<p class="muted">Loading…</p>`;
  }

  function Failures({ query, go }) {
    const [version, setVersion] = useState(0);
    const filters = filtersOf(query);
    const state = useRows(filters, version);
    const { data, rows, error, progress } = state;
    const [active, setActive] = useState(0);
    const [keys, setKeys] = useState(localStorage.getItem("tuneworthy-keys") !== "off");
    const [search, list, heading] = [useRef(), useRef(), useRef()];
    const put = (changes) => go({ ...query, ...changes }, { replace: true });
    const open = (place) => {
      setActive(place);
      if (rows[place]) put({ case: rows[place].id });
    };
    useEffect(() => { setActive(Math.max(0, rows.findIndex((row) => row && row.id === query.case))); }, [state.load]);
    const move = (step) => {
      const place = Math.max(0, Math.min(data.total - 1, active + step));
      setActive(place);
      const box = list.current;
      if (place * ROW < box.scrollTop) box.scrollTop = place * ROW;
      if ((place + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (place + 1) * ROW - box.clientHeight;
      if (query.case && rows[place]) put({ case: rows[place].id });
    };
    const onKey = (event) => {
      const { target, key } = event;
      const inList = target === list.current;
      if (!data || event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
      const step = (keys && { j: 1, k: -1 }[key]) || (inList && { ArrowDown: 1, ArrowUp: -1 }[key]);
      if (keys && key === "/") search.current.focus();
      else if (step && data.total) move(step);
      else if (key === "Enter" && (inList || target === document.body || target.id === "main")) {
        heading.wanted = true;
        if (rows[active] && rows[active].id === query.case && heading.current) heading.current.focus();
        else open(active);
      } else if (key === "Escape" && query.case) close();
      else return;
      event.preventDefault();
    };
    const close = () => { put({ case: "" }); if (list.current) list.current.focus(); };
    const latest = useRef();
    latest.current = onKey; // an effect runs after the painting, which is too late for the next key
    useEffect(() => {
      const listen = (event) => latest.current(event);
      addEventListener("keydown", listen);
      return () => removeEventListener("keydown", listen);
    }, []);
    if (error) return html`<h1>Failures</h1><${Fault} error=${error} />`;
    if (!data) return html`<h1>Failures</h1>${progress && html`<${Loading} progress=${progress} />`}`;
    return html`<div class="failures"><h1>Failures</h1>
      ${data.note && html`<p class="muted">${data.note}</p>`}
      <${Filters} data=${data} query=${query} change=${put} search=${search} />
      <${Groups} data=${data} query=${query} change=${put} />
      <${Reveal} data=${data} query=${query} done=${() => { setVersion(version + 1); put({ side: "all" }); }} />
      ${progress && html`<${Loading} progress=${progress} />`}
      <div class="panes"><section aria-label="List"><p class="muted" role="status">${number(data.total)}
          ${data.total === 1 ? " case" : " cases"}</p>
        ${query.search && html`<p class="muted searched">The search reads the first ${number(data.searched)} characters of
          each text.</p>`}
        <${List} state=${state} active=${active} openCase=${query.case} choose=${open} list=${list} />
        <label class="check"><input type="checkbox" checked=${keys} onChange=${(event) => {
          localStorage.setItem("tuneworthy-keys", event.target.checked ? "on" : "off");
          setKeys(event.target.checked);
        }} /> <span>Keys:
          ${" "}<kbd>j</kbd> and <kbd>k</kbd> move, <kbd>Enter</kbd> opens, <kbd>/</kbd> searches</span></label>
        </section>
        <section class="detail" aria-label="Case">${query.case ? html`<${CasePane} id=${query.case} a=${data.a.option}
          b=${data.b.option} version=${version} heading=${heading} close=${close} />`
          : html`<p class="muted">Choose a case to see both answers.</p>`}</section></div></div>`;
  }

  window.tuneworthy.compare = compare;
  views.failures = { title: "Failures", component: Failures };
})();
