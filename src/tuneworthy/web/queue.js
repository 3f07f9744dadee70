// One queue of rows to judge, keyboard first. The label page and `ui` show it; they differ in where answers are stored.
// An answer is the line that a person types on a terminal, so that both write the same log.
"use strict";
window.tuneworthy.queue = (() => {
  const { html, useState, useEffect, useMemo, useRef, LongText, Fault } = window.tuneworthy;
  const BREAK_S = 25 * 60,
    PAUSE_S = 120; // a break is suggested after so much work; a pause of that length is one
  const N_DIGITS = 9,
    REORDER_EVERY = 20;

  const bare = (label) => label.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || label;
  const words = (label) =>
    label
      .toLowerCase()
      .split(/[\s_\-./:,]+/)
      .filter(Boolean);
  const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
  const minutes = (seconds) => Math.max(1, Math.round(seconds / 60));

  // Labels that match a search: by their beginning, then that of a word, the initials of the words, and any part.
  function matching(labels, search) {
    const text = search.trim().toLowerCase();
    if (!text) return labels;
    const rank = (label) => {
      const own = words(label);
      if (label.toLowerCase().startsWith(text) || bare(label).startsWith(bare(text))) return 0;
      if (own.some((word) => word.startsWith(text))) return 1;
      if (
        own
          .map((word) => word[0])
          .join("")
          .startsWith(text)
      )
        return 2;
      return label.toLowerCase().includes(text) ? 3 : 9;
    };
    return labels
      .map((label, at) => [rank(label), at, label])
      .filter(([r]) => r < 9)
      .sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map(([, , label]) => label);
  }

  // The most used labels first, unless other people judge the same rows or the labels are numbers.
  function ordered(labels, answers, blind) {
    if (blind || labels.some((label) => /^\d/.test(label))) return labels;
    const counts = {};
    answers.forEach(({ line }) => {
      counts[line] = (counts[line] || 0) + 1;
    });
    return labels
      .map((label, at) => [-(counts[label] || 0), at, label])
      .sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map(([, , label]) => label);
  }

  function Labels({ form, descriptions, order, search, setSearch, pick, input }) {
    const found = matching(order, search);
    const name = search.trim();
    const isNew = name && !form.closed && !form.labels.some((label) => bare(label) === bare(name));
    return html`
      <div class="search"><label for="search">Label</label>
        <input id="search" ref=${input} type="search" placeholder="Type to find a label" autocomplete="off" spellcheck=${false} value=${search}
          onInput=${(event) => setSearch(event.target.value)} aria-describedby="found" />
        <span id="found" role="status" class="muted">${name ? `${found.length} of ${order.length}` : `${order.length} labels`}</span></div>
      <ul class="labels">${found.map(
        (label, at) => html`<li key=${label}>
        <button type="button" onClick=${() => pick(label)} title=${descriptions[label] || undefined}>
          ${at < N_DIGITS && html`<kbd>${at + 1}</kbd>`} ${label}</button></li>`,
      )}</ul>
      ${isNew && html`<button type="button" onClick=${() => pick(`+${name}`)}>Add the label “${name}” <kbd>Shift Enter</kbd></button>`}
      ${name && !found.length && form.closed && html`<p class="muted">No label contains “${name}”.</p>`}`;
  }

  function Choices({ form, pick, asked, setAsked, input }) {
    const [text, setText] = useState("");
    useEffect(() => {
      if (asked && input.current) input.current.focus();
      else setText("");
    }, [asked]);
    const send = () => text.trim() && pick(`${asked} ${text.trim()}`);
    return html`
      <div class="choices" role="group" aria-label="Answer">${Object.entries(form.choices).map(
        ([key, name]) => html`
        <button type="button" aria-pressed=${asked === key}
          onClick=${() => (form.with_text.includes(key) ? setAsked(key) : pick(key))}><kbd>${key}</kbd> ${name}</button>`,
      )}</div>
      ${
        asked &&
        html`<form class="reason" onSubmit=${(event) => {
          event.preventDefault();
          send();
        }}>
        <label for="reason">${asked === "e" ? "The right answer" : "Why?"}</label>
        <input id="reason" ref=${input} list=${asked === "e" ? "known" : undefined} autocomplete="off" value=${text}
          onInput=${(event) => setText(event.target.value)} />
        ${asked === "e" && html`<datalist id="known">${form.labels.map((label) => html`<option value=${label} />`)}</datalist>`}
        <button type="submit" disabled=${!text.trim()}>Save <kbd>Enter</kbd></button></form>`
      }`;
  }

  // The text that is selected in the row; a click on a button would clear it, so buttons take the press of the mouse.
  function selected() {
    const found = getSelection(),
      place = document.querySelector("article.row");
    return found && place && found.rangeCount && place.contains(found.anchorNode) ? found.toString().trim() : "";
  }
  const Selection = ({
    name,
    use,
  }) => html`<button type="button" class="small" aria-label=${`Use the selected text for ${name}`}
    onMouseDown=${(event) => event.preventDefault()} onClick=${() => selected() && use(selected())}>Use selection</button>`;

  function Text({ pick, input }) {
    const [text, setText] = useState("");
    const send = () => text.trim() && pick(text.trim());
    return html`<form class="answer" onSubmit=${(event) => {
      event.preventDefault();
      send();
    }}>
      <label for="text">Expected answer</label>
      <textarea id="text" ref=${input} rows="4" value=${text} onInput=${(event) => setText(event.target.value)}
        onKeyDown=${(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
        }}></textarea>
      <${Selection} name="the answer" use=${setText} />
      <button type="submit" disabled=${!text.trim()}>Save <kbd>Ctrl Enter</kbd></button></form>`;
  }

  const SCALARS = ["string", "number", "integer", "boolean"];
  const typeOf = (field) => (Array.isArray(field.type) ? field.type.find((type) => type !== "null") : field.type) || "";
  // Turns what was typed into JSON; undefined if the field is empty. Throws if it is not valid.
  function valueOf(typed, field, name) {
    const type = typeOf(field);
    if (typed === undefined || typed === "") return undefined;
    if (field.enum) return field.enum.find((one) => String(one) === typed);
    if (type === "boolean") return typed === "true";
    if (type === "string") return typed;
    if (type === "array" && SCALARS.includes(typeOf(field.items || { type: "string" }))) {
      return typed
        .split("\n")
        .map((line) => valueOf(line.trim(), field.items || { type: "string" }, name))
        .filter((one) => one !== undefined);
    }
    if (type === "number" || type === "integer") {
      if (!Number.isFinite(Number(typed))) throw new Error(`${name} must be a number.`);
      return Number(typed);
    }
    try {
      return JSON.parse(typed);
    } catch {
      throw new Error(`${name} is not valid JSON.`);
    }
  }

  function Field({ name, field, required, value, set }) {
    const id = `field-${name}`,
      type = typeOf(field);
    const options = field.enum ? field.enum.map(String) : type === "boolean" ? ["true", "false"] : null;
    const on = { id, value: value || "", onInput: (event) => set(event.target.value) };
    const isText = type === "string" && !options;
    return html`<div class="field"><label for=${id}>${name}${required ? " (required)" : ""}</label>
      ${
        options
          ? html`<select ...${on}><option value=""></option>${options.map((one) => html`<option value=${one}>${one}</option>`)}</select>`
          : SCALARS.includes(type)
            ? html`<input ...${on} inputmode=${isText ? "text" : "decimal"} autocomplete="off" />`
            : html`<textarea ...${on} rows="3" aria-describedby=${`${id}-form`}></textarea>
            <small id=${`${id}-form`}>${type === "array" ? "One entry a line." : "JSON."}</small>`
      }
      ${
        (isText || type === "array") &&
        html`<${Selection} name=${name}
        use=${(text) => set(type === "array" && value ? `${value}\n${text}` : text)} />`
      }</div>`;
  }

  function Json({ form, pick, input }) {
    const fields = Object.entries(form.schema.properties || {}),
      required = form.schema.required || [];
    const [typed, setTyped] = useState({}),
      [raw, setRaw] = useState(fields.length ? null : ""),
      [fault, setFault] = useState("");
    function built() {
      const pairs = fields.map(([name, field]) => [name, valueOf(typed[name], field, name)]);
      const missing = pairs.find(([name, value]) => value === undefined && required.includes(name));
      if (missing) throw new Error(`${missing[0]} is required. To leave it empty, edit the answer as JSON.`);
      return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
    }
    const safely = (work) => {
      try {
        setFault("");
        work();
      } catch (error) {
        setFault(error.message);
      }
    };
    const send = () => safely(() => pick(JSON.stringify(raw === null ? built() : JSON.parse(raw))));
    const onKeyDown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
    };
    return html`<form class="answer" onKeyDown=${onKeyDown} onSubmit=${(event) => {
      event.preventDefault();
      send();
    }}>
      ${
        raw === null
          ? fields.map(
              ([name, field]) => html`<${Field} key=${name} name=${name} field=${field}
        required=${required.includes(name)} value=${typed[name]} set=${(value) => setTyped({ ...typed, [name]: value })} />`,
            )
          : html`<label for="text">Expected answer as JSON</label>
          <textarea id="text" ref=${input} rows="6" value=${raw} onInput=${(event) => setRaw(event.target.value)}></textarea>`
      }
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
      ${raw === null && html`<button type="button" onClick=${() => safely(() => setRaw(JSON.stringify(built(), null, 1)))}>Edit as JSON</button>`}
      <button type="submit">Save <kbd>Ctrl Enter</kbd></button></form>`;
  }

  const KEYS = [
    ["j, k", "next row, previous row"],
    ["u", "take the last answer back"],
    ["/", "search the labels"],
    [".", "add a comment"],
    ["-", "cannot decide"],
    ["0", "the model should decline"],
    ["Esc", "leave a field"],
    ["?", "show or hide this help"],
  ];

  // Shows the rows of `content`; `given` are earlier answers in order. `save` stores an answer; `undo` takes the last one
  // back, and returns the row if it was answered before this page was opened.
  function Queue({ content, given, save, undo, end, tools, finished = false }) {
    const { form } = content,
      [rows, setRows] = useState(content.rows);
    const [answers, setAnswers] = useState(given),
      [at, setAt] = useState(() => first(rows, given, 0));
    const [search, setSearch] = useState(""),
      [asked, setAsked] = useState(""),
      [comment, setComment] = useState(null);
    const [help, setHelp] = useState(false),
      [said, say] = useState(""),
      [fault, setFault] = useState(null),
      [busy, setBusy] = useState(false);
    const article = useRef(null),
      input = useRef(null),
      remark = useRef(null),
      began = useRef({}),
      times = useRef([]);
    const work = useRef({ since: Date.now(), last: Date.now() });
    const by = useMemo(() => new Map(answers.map((one) => [one.row, one])), [answers]);
    const order = useMemo(
      () => ordered(form.labels, answers, content.blind),
      [Math.floor(answers.length / REORDER_EVERY), form.labels.length],
    );
    const row = finished ? undefined : rows[at],
      own = row && by.get(row.id),
      left = rows.length - by.size;
    const usual = times.current.length >= 5 ? median(times.current) : content.seconds;

    if (row) began.current[row.id] = began.current[row.id] || Date.now();
    // At once and in no effect, which would clear the first letter of a fast typist.
    function goTo(place) {
      setAt(place);
      setSearch("");
      setAsked("");
      setComment(null);
    }
    useEffect(() => {
      if (article.current) {
        article.current.focus({ preventScroll: true });
        scrollTo(0, 0);
      }
    }, [at]);
    useEffect(() => {
      if (comment === "" && remark.current) remark.current.focus();
    }, [comment === null]);

    async function attempt(action) {
      if (busy) return;
      setBusy(true);
      setFault(null);
      try {
        await action();
      } catch (error) {
        setFault(error);
      } finally {
        setBusy(false);
      }
    }
    const pick = (line) =>
      attempt(async () => {
        const now = Date.now(),
          seconds = (now - began.current[row.id]) / 1000;
        const label = form.kind === "label" && line.startsWith("+") ? line.slice(1) : line;
        const answer = {
          row: row.id,
          line,
          seconds,
          comment: (comment || "").trim(),
          time: new Date(now).toISOString().slice(0, 19) + "+00:00",
        };
        const { after = [] } = (await save(answer)) || {};
        if (form.kind === "label" && line.startsWith("+") && !form.labels.includes(label)) form.labels.push(label);
        if (now - work.current.last > PAUSE_S * 1000) work.current.since = now;
        work.current.last = now;
        times.current.push(seconds);
        const next = [...answers.filter((one) => one.row !== row.id), answer];
        setAnswers(next);
        const rest =
          now - work.current.since > BREAK_S * 1000
            ? " You have worked for 25 minutes: take a break, every answer is saved."
            : "";
        if (rest) work.current.since = now;
        say([`Saved: ${shown(answer)}.${rest}`, ...after].join(" "));
        goTo(first(rows, next, at + 1));
      });
    const takeBack = () =>
      attempt(async () => {
        const last = answers[answers.length - 1],
          found = await undo(last);
        const [own] = (found && found.row) || [],
          id = own ? own.id : last && last.row;
        setAnswers(answers.filter((one) => one.row !== id));
        say(last && last.row === id ? `Taken back: ${shown(last)}.` : "Taken back.");
        const place = rows.findIndex((one) => one.id === id);
        if (place < 0) setRows([own, ...rows]);
        began.current[id] = Date.now();
        goTo(Math.max(0, place));
      });
    function shown({ line }) {
      if (line === content.cannot) return "cannot decide";
      if (line === content.decline) return "decline";
      const [key, ...text] = line.split(" ");
      return form.kind === "choice" ? [form.choices[key] || key, ...text].join(" ") : line;
    }
    const move = (step) => goTo(Math.min(rows.length - 1, Math.max(0, (at >= rows.length ? rows.length : at) + step)));

    function onKey(event) {
      const field = event.target.closest("input, textarea, select"),
        key = event.key;
      const inSearch = field && field.id === "search";
      if (event.isComposing || ((event.ctrlKey || event.metaKey || event.altKey) && key !== "Escape")) return;
      const done = (action) => {
        event.preventDefault();
        action();
      };
      if (key === "Escape")
        return done(() => {
          setAsked("");
          setSearch("");
          if (article.current) article.current.focus();
        });
      if (field && field.id === "comment" && key === "Enter") return done(() => article.current.focus());
      if (field && !inSearch) return undefined;
      if (row && form.kind === "label") {
        const found = matching(order, search);
        const named = !search && form.labels.includes(key) ? key : found[Number(key) - 1];
        if (/^[1-9]$/.test(key) && named) return done(() => pick(named));
        if (inSearch && key === "Enter" && search.trim()) {
          const isNew = event.shiftKey && !form.closed;
          return done(() =>
            isNew ? pick(`+${search.trim()}`) : found.length ? pick(found[0]) : say("No label matches."),
          );
        }
      }
      if (inSearch && search) return undefined;
      if (row && form.kind === "choice" && form.choices[key]) {
        return done(() => (form.with_text.includes(key) ? setAsked(key) : pick(key)));
      }
      const commands = {
        j: () => move(1),
        k: () => move(-1),
        u: takeBack,
        "?": () => setHelp(!help),
        "/": () => input.current && input.current.focus(),
        ".": () => content.remarks && setComment(comment || ""),
        "-": () => content.cannot && row && pick(content.cannot),
        0: () => content.decline && row && pick(content.decline),
      };
      if (commands[key] && !(inSearch && key !== "?" && key !== "/")) return done(commands[key]);
      if (
        key.length === 1 &&
        !inSearch &&
        row &&
        form.kind === "label" &&
        input.current &&
        !event.target.closest("button")
      ) {
        return done(() => {
          setSearch(key);
          input.current.focus();
        });
      }
      return undefined;
    }
    const handler = useRef(null);
    handler.current = onKey; // set while rendering: an effect would run after the next key of a fast typist
    useEffect(() => {
      const onKeyDown = (event) => handler.current(event);
      addEventListener("keydown", onKeyDown);
      return () => removeEventListener("keydown", onKeyDown);
    }, []);

    const form_ = { label: Labels, choice: Choices, json: Json, text: Text }[form.kind];
    const hasCommand = form.kind === "label" && form.labels.some((label) => /^[jku]/i.test(label));
    return html`<div class="queue">
      <div class="status"><progress max=${rows.length} value=${by.size} aria-label="Rows done"></progress>
        <span>${by.size} of ${rows.length} rows done${left ? `, about ${minutes(left * usual)} min left` : ""}${
          times.current.length >= 5 ? `, ${Math.round(usual)} s a row` : ""
        }</span>
        <button type="button" onClick=${takeBack} disabled=${busy || (!answers.length && !content.n_done)}>Undo <kbd>u</kbd></button>
        <button type="button" onClick=${() => setHelp(!help)} aria-expanded=${help}>Help <kbd>?</kbd></button>${tools}</div>
      <p class="said" role="status">${said}</p>
      ${fault && html`<${Fault} error=${fault} />`}
      ${
        help &&
        html`<dl class="keys">${KEYS.map(([key, text]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}
        ${form.kind === "label" && html`<div><dt>1 to 9</dt><dd>the label with that number; letters search the labels</dd></div>`}</dl>`
      }
      ${
        content.guideline &&
        html`<details class="guideline" open=${!matchMedia("(max-width: 700px)").matches}>
        <summary>Guideline</summary><${LongText} text=${content.guideline} limit=${5000} /></details>`
      }
      ${
        row
          ? html`
        <article class="row" key=${row.id} tabindex="-1" ref=${article} aria-label=${`Row ${at + 1} of ${rows.length}`}>
          <p class="muted">Row ${at + 1}${own ? html`: your answer is <strong>${shown(own)}</strong>${own.comment ? ` (${own.comment})` : ""}` : ""}</p>
          <${LongText} text=${row.text} />
          ${Object.entries(row.documents).map(
            ([name, text]) => html`<details key=${name}><summary>Document ${name}</summary>
            <${LongText} text=${text} limit=${5000} /></details>`,
          )}</article>
        <section class="answers" aria-label="Answer" aria-busy=${busy}>
          <${form_} key=${row.id} form=${form} descriptions=${content.descriptions} order=${order} search=${search}
            setSearch=${setSearch} pick=${pick} asked=${asked} setAsked=${setAsked} input=${input} />
          <div class="more">
            ${content.decline && html`<button type="button" onClick=${() => pick(content.decline)}>The model should decline <kbd>0</kbd></button>`}
            ${content.cannot && html`<button type="button" onClick=${() => pick(content.cannot)}>Cannot decide <kbd>-</kbd></button>`}
            ${content.remarks && comment === null && html`<button type="button" onClick=${() => setComment("")}>Comment <kbd>.</kbd></button>`}
            <button type="button" onClick=${() => move(1)} disabled=${at >= rows.length - 1}>Skip for now <kbd>j</kbd></button></div>
          ${
            comment !== null &&
            html`<div class="field"><label for="comment">Comment, saved with your answer</label>
            <input id="comment" ref=${remark} maxlength="2000" value=${comment} onInput=${(event) => setComment(event.target.value)} /></div>`
          }
          ${hasCommand && html`<p class="muted">Type <kbd>/</kbd> first to search for a label that begins with j, k or u.</p>`}
        </section>`
          : html`<section class="end" tabindex="-1" ref=${article}><h2>All ${rows.length} rows are done.</h2>${end}</section>`
      }
    </div>`;
  }
  // Place of the first row without an answer, from `start` on and then from the beginning; past the end if all are done.
  function first(rows, answers, start) {
    const done = new Set(answers.map((one) => one.row)),
      open = (row) => !done.has(row.id);
    const later = rows.slice(start).findIndex(open);
    if (later >= 0) return start + later;
    const any = rows.findIndex(open);
    return any >= 0 ? any : rows.length;
  }
  return { Queue, matching };
})();
