// Shared by all views: the names of Preact, calls of the server, numbers, and texts of any length.
"use strict";
window.tuneworthy = (() => {
  const { html, render, useState, useEffect, useMemo, useRef, useCallback } = window.htmPreact;
  const AGAIN = "Run `tuneworthy ui` again. Nothing on this page is lost.";
  const views = {}; // name in the address -> {title, component, roles}

  // Calls the server. A read has a query; a write a body. Throws an Error with the message and hint for the reader.
  // The page hears "answered" after each call: the status is 0 without an answer, 401 without the right token.
  const token = () => sessionStorage.getItem("tuneworthy-token") || "";
  const KEPT = "tuneworthy-token-before"; // the token before one that the server has not accepted yet
  const setToken = (value) => {
    if (value !== token() && token() && !sessionStorage.getItem(KEPT)) sessionStorage.setItem(KEPT, token());
    sessionStorage.setItem("tuneworthy-token", value);
  };
  // After an answer for the token `used`; returns whether another token is worth a try.
  function settleToken(used, isRefused) {
    const before = sessionStorage.getItem(KEPT);
    if (used === token() && used) sessionStorage.removeItem(KEPT);
    if (isRefused && used === token() && before) sessionStorage.setItem("tuneworthy-token", before);
    return isRefused && used !== token();
  }
  const answered = (status) => dispatchEvent(new CustomEvent("answered", { detail: status }));
  const isAway = (error) => error.status === 0 || error.status === 401;
  async function api(path, { query = {}, body } = {}) {
    const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null));
    const headers = { Accept: "application/json" };
    const used = token();
    if (used) headers.Authorization = `Bearer ${used}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const answer = await fetch(`api/${path}${words.size ? `?${words}` : ""}`, {
      method: body === undefined ? "GET" : "POST", headers, body: body === undefined ? undefined : JSON.stringify(body),
    }).catch(() => null);
    if (answer && settleToken(used, answer.status === 401)) return api(path, { query, body });
    answered(answer ? answer.status : 0);
    if (!answer) throw Object.assign(new Error("The server does not answer."), { hint: AGAIN, status: 0 });
    const found = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
    if (!answer.ok) throw Object.assign(new Error(found.error), { hint: found.hint || "", status: answer.status });
    return found;
  }

  // A number that changes when the server is back: the effects that read depend on it.
  function useTurn() {
    const [turn, next] = useState(0);
    useEffect(() => {
      const back = () => next((n) => n + 1);
      addEventListener("back", back);
      return () => removeEventListener("back", back);
    }, []);
    return turn;
  }

  // The result of a read: {data, error, loading}; it is repeated when the query changes, or the server is back.
  // Without an answer, the last data stay: a view keeps what was typed into it.
  function useApi(path, query = {}, deps = []) {
    const [state, set] = useState({ data: null, error: null, loading: true });
    const turn = useTurn();
    useEffect(() => {
      let current = true;
      set((old) => ({ ...old, loading: true }));
      api(path, { query }).then((data) => current && set({ data, error: null, loading: false }),
        (error) => current && set((old) => (
          isAway(error) && old.data ? { ...old, loading: false } : { data: null, error, loading: false })));
      return () => { current = false; };
    }, [path, JSON.stringify(query), turn, ...deps]);
    return state;
  }

  const percent = (value, digits = 1) => (value == null ? "–" : `${(100 * value).toFixed(digits)}%`);
  const points = (value) => (value == null ? "–" : `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)} points`);

  // A text of any length: its beginning, and the rest behind a button, 20,000 characters at a time.
  // `format` makes nodes of the part that is shown.
  const PART = 20000;
  function LongText({ text, limit = 2000, className = "text", format = String }) {
    const [shown, set] = useState(limit);
    return html`<div class=${className}>${format(text.slice(0, shown))}${text.length > shown && html`
      <button type="button" class="more" onClick=${() => set(shown + PART)}>
        Show more (${(text.length - shown).toLocaleString("en")} characters)</button>`}</div>`;
  }

  // A text with its commands, between backticks, as code.
  const coded = (text) => text.split(/`([^`]+)`/).map((part, at) => (at % 2 ? html`<code>${part}</code>` : part));

  // Markdown as nodes: headings, lists, bold text and code. Anything else stays text. Levels of headings skip none.
  const bold = (text) => text.split(/\*\*([^*]+)\*\*/).map((part, at) => (
    at % 2 ? html`<strong>${coded(part)}</strong>` : coded(part)));
  function marked(text) {
    const blocks = [];
    let [level, item, fenced] = [1, null, false]; // of the last heading; the lines that a next line continues
    const add = (tag, line, depth = 0, value = undefined) => {
      const last = blocks[blocks.length - 1];
      const block = /[ou]l/.test(tag) && last && last.tag === tag && last.depth === depth ? last
        : { tag, depth, items: [] };
      if (block !== last) blocks.push(block);
      item = { tag, value, lines: [line] };
      block.items.push(item);
    };
    for (const line of text.split(/\r?\n/)) {
      const [, hashes, title] = /^ {0,3}(#{1,6})\s+(.*?)(?:\s#+)?\s*$/.exec(line) || [];
      const [, indent, mark, words] = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)/.exec(line) || [];
      if (/^\s*(```|~~~)/.test(line)) [fenced, item] = [!fenced, null];
      else if (fenced || /^\s*\|/.test(line)) {
        if (item && item.tag === "pre") item.lines.push(line); else add("pre", line);
      } else if (!line.trim()) item = null;
      else if (hashes) {
        level = Math.min(level + 1, hashes.length + 1, 6);
        add(`h${level}`, title);
        item = null;
      } else if (mark) add(mark.length > 1 ? "ol" : "ul", words, indent.length, parseInt(mark, 10) || undefined);
      else if (item && item.tag !== "pre") item.lines.push(line.trim());
      else add("p", line.trim());
    }
    const content = ({ tag, lines }) => (tag === "pre" ? lines.join("\n") : bold(lines.join(" ")));
    return blocks.map(({ tag, depth, items }) => html`<${tag} style=${{ marginLeft: `${depth / 2}em` }}>${
      /[ou]l/.test(tag) ? items.map((one) => html`<li value=${one.value}>${content(one)}</li>`) : content(items[0])}<//>`);
  }

  // The shell shows once that the server is away, in front of every view.
  function Fault({ error }) {
    if (isAway(error)) return null;
    return html`<div class="fault" role="alert"><p>${coded(error.message)}</p>
      ${error.hint && html`<p>${coded(error.hint)}</p>`}</div>`;
  }

  return {
    html, render, useState, useEffect, useMemo, useRef, useCallback, views, api, setToken, useApi, useTurn, isAway,
    percent, points, LongText, Fault, coded, marked,
  };
})();
