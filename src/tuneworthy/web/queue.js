// One queue of rows to judge, keyboard first. The label page and `ui` show it; they differ in where answers are stored.
// An answer is the line that a person types on a terminal, so that both write the same log.
"use strict";
window.tuneworthy.queue = (() => {
  const { html, useState, useEffect, useMemo, useRef, LongText, Fault, marked } = window.tuneworthy;
  const BREAK_S = 25 * 60,
    PAUSE_S = 120; // a break is suggested after so much work; a pause of that length is one
  const N_DIGITS = 9;
  const WORD_MS = 300; // two letters within that time begin a word

  const bare = (label) => label.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || label;
  const words = (label) =>
    label
      .toLowerCase()
      .split(/[\s_\-./:,]+/)
      .filter(Boolean);
  const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
  const minutes = (seconds) => Math.max(1, Math.round(seconds / 60));

  // Labels that match a search: by their beginning, the beginnings of words in any order, initials, and any part.
  function matching(labels, search) {
    const text = search.trim().toLowerCase(),
      typed = words(text);
    if (!text) return labels;
    const rank = (label) => {
      const own = words(label),
        initials = own.map((word) => word[0]).join("");
      if (label.toLowerCase().startsWith(text) || bare(label).startsWith(bare(text))) return 0;
      if (typed.length && typed.every((part) => own.some((word) => word.startsWith(part)))) return 1;
      if (initials.startsWith(text)) return 2;
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

  // The label that a new name would repeat in another spelling.
  const same = (labels, name) => labels.find((label) => bare(label) === bare(name));

  function Labels({ form, descriptions, order, search, setSearch, pick, input }) {
    const found = matching(order, search);
    const name = search.trim();
    const isNew = name && !form.closed && !same(form.labels, name);
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

  const FIELDS = { e: "The right answer", q: "The question" };
  function Choices({ form, row, pick, asked, setAsked, input }) {
    const [text, setText] = useState("");
    useEffect(() => {
      setText(asked === "q" ? row.question.replace(/\s+/g, " ") : ""); // a field has one line
      if (asked && input.current) input.current.focus();
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
        <label for="reason">${FIELDS[asked] || "Why?"}</label>
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
  // Fills the field `id` with the selected text, and moves there.
  function Selection({ id, name, use }) {
    const [hint, setHint] = useState("");
    const take = () => {
      setHint(selected() ? "" : "Select text in the row first.");
      if (selected()) use(selected());
      document.getElementById(id).focus();
    };
    return html`<button type="button" class="small" aria-label=${`Use the selected text for ${name}`}
      onMouseDown=${(event) => event.preventDefault()} onClick=${take}>Use selection</button>
      <small role="status">${hint}</small>`;
  }

  function Text({ pick, input, draft, keep }) {
    const [text, set] = useState(draft || "");
    const setText = (value) => {
      set(value);
      keep(value);
    };
    const send = () => text.trim() && pick(text.trim());
    return html`<form class="answer" onSubmit=${(event) => {
      event.preventDefault();
      send();
    }}>
      <label for="text">Expected answer</label>
      <textarea id="text" ref=${input} rows="4" value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
      <${Selection} id="text" name="the answer" use=${setText} />
      <button type="submit" disabled=${!text.trim()}>Save <kbd>Ctrl Enter</kbd></button></form>`;
  }

  const SCALARS = ["string", "number", "integer", "boolean"];
  const typeOf = (field) => (Array.isArray(field.type) ? field.type.find((type) => type !== "null") : field.type) || "";
  const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
  // Returns what was typed as JSON text, since a browser rounds long numbers; undefined if the field is empty.
  function valueOf(typed, field, name) {
    const type = typeOf(field);
    if (typed === undefined || typed.trim() === "") return undefined;
    if (field.enum) return JSON.stringify(field.enum.find((one) => String(one) === typed));
    if (type === "boolean") return typed;
    if (type === "string") return JSON.stringify(typed);
    if (type === "array" && SCALARS.includes(typeOf(field.items || { type: "string" }))) {
      const lines = typed.split("\n").map((line) => valueOf(line.trim(), field.items || { type: "string" }, name));
      return `[${lines.filter((one) => one !== undefined).join(",")}]`;
    }
    if (type === "number" || type === "integer") {
      if (!NUMBER.test(typed.trim())) throw new Error(`${name} must be a number.`);
      return typed.trim();
    }
    try {
      JSON.parse(typed);
      return typed.trim();
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
          ? html`<select ...${on}><option value=""></option>${options.map(
              (one) => html`
              <option value=${one}>${field.enum ? one : { true: "yes", false: "no" }[one]}</option>`,
            )}</select>`
          : SCALARS.includes(type)
            ? html`<input ...${on} inputmode=${isText ? "text" : "decimal"} autocomplete="off" />`
            : html`<textarea ...${on} rows="3" aria-describedby=${`${id}-form`}></textarea>
            <small id=${`${id}-form`}>${type === "array" ? "One entry a line." : "JSON."}</small>`
      }
      ${
        (isText || type === "array") &&
        html`<${Selection} id=${id} name=${name}
        use=${(text) => set(type === "array" && value ? `${value}\n${text}` : text)} />`
      }</div>`;
  }

  // What fields show of an answer, as `valueOf` reads it.
  const typedOf = (value) =>
    Array.isArray(value) && value.every((one) => typeof one !== "object")
      ? value.join("\n")
      : typeof value === "object" && value !== null
        ? JSON.stringify(value)
        : value == null
          ? ""
          : String(value);

  function Json({ form, pick, input, draft, keep }) {
    const fields = Object.entries(form.schema.properties || {}),
      required = form.schema.required || [];
    const [typed, set] = useState(() => fromJson(draft)),
      [raw, setRaw] = useState(fields.length ? null : draft || ""),
      [fault, setFault] = useState("");
    function fromJson(line) {
      try {
        return Object.fromEntries(Object.entries(JSON.parse(line)).map(([name, value]) => [name, typedOf(value)]));
      } catch {
        return {};
      } // no answer yet, or one that is no object
    }
    const setTyped = (next) => {
      set(next);
      keep(JSON.stringify(next));
    };
    function built(complete = true) {
      const pairs = fields.map(([name, field]) => [name, valueOf(typed[name], field, name)]);
      const missing = pairs.find(([name, value]) => value === undefined && required.includes(name));
      if (missing && complete)
        throw new Error(`${missing[0]} is required. To leave it empty, edit the answer as JSON.`);
      const filled = pairs.filter(([, value]) => value !== undefined);
      return `{${filled.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
    }
    const safely = (work) => {
      try {
        setFault("");
        work();
      } catch (error) {
        setFault(error.message);
      }
    };
    const checked = (text) => {
      JSON.parse(text);
      return text.trim();
    };
    const send = () => safely(() => pick(raw === null ? built() : checked(raw)));
    return html`<form class="answer" onSubmit=${(event) => {
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
          <textarea id="text" ref=${input} rows="6" value=${raw} onInput=${(event) => {
            setRaw(event.target.value);
            if (!fields.length) keep(event.target.value);
          }}></textarea>`
      }
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
      ${
        raw === null
          ? html`<button type="button" onClick=${() => safely(() => setRaw(built(false)))}>
            Edit as JSON</button>`
          : fields.length > 0 &&
            html`<button type="button" onClick=${() =>
              safely(() => {
                setTyped(fromJson(raw));
                setRaw(null);
              })}>
            Back to the form</button>`
      }
      <button type="submit">Save <kbd>Ctrl Enter</kbd></button></form>`;
  }

  const KEYS = [
    ["1 to 9", "the label with that number", "label"],
    ["letters", "search the labels", "label"],
    ["Enter", "the first label that was found", "label"],
    ["Shift Enter", "add what you typed as a label", "label"],
    ["/", "search the labels, also for names that begin with j, k or u", "label"],
    ["Ctrl Enter", "save the answer", "json text"],
    ["j, k", "next row, previous row"],
    ["u", "take the last answer back"],
    [".", "add a comment; Enter leaves it"],
    ["-", "cannot decide", "label choice"],
    ["0", "the model should decline to answer", "label choice"],
    ["Esc", "leave a field"],
    ["?", "show or hide this help"],
  ];

  // Shows the rows of `content`; `given` are earlier answers in order. `save` stores an answer; `undo` takes the last
  // one back, and returns the row if it was answered before this page was opened. `typed` has the comments and texts
  // by row that are being written, and `keepTyped` stores them.
  function Queue({ content, given, save, undo, end, tools, finished = false, typed = {}, keepTyped = () => {} }) {
    const { form } = content,
      [rows, setRows] = useState(content.rows);
    const [answers, setAnswers] = useState(given),
      [at, setAt] = useState(() => first(rows, given, 0));
    const [search, setSearch] = useState(""),
      [asked, setAsked] = useState(""),
      [comments, setComments] = useState(typed.comments || {}); // row to the comment that is being written
    const [help, setHelp] = useState(false),
      [said, say] = useState(""),
      [fault, setFault] = useState(null),
      [busy, setBusy] = useState(false);
    const article = useRef(null),
      input = useRef(null),
      current = useRef(null),
      opening = useRef(false),
      began = useRef({}),
      times = useRef([]);
    const work = useRef({ since: Date.now(), last: Date.now() });
    const by = useMemo(() => new Map(answers.map((one) => [one.row, one])), [answers]);
    // Once: numbers that change their meaning would be pressed by habit. Labels that were added here come last.
    const [order, setOrder] = useState(() => {
      const added = given.map(({ line }) => line).filter((line) => form.kind === "label" && line.startsWith("+"));
      form.labels = [...new Set([...form.labels, ...added.map((line) => line.slice(1))])];
      return ordered(form.labels, given, content.blind);
    });
    const drafts = useRef(typed.texts || {}),
      pending = useRef(null);
    const row = finished ? undefined : rows[at],
      own = row && by.get(row.id),
      left = rows.length - by.size;
    const comment = row ? comments[row.id] : undefined;
    const setComment = (text) => {
      const next = { ...comments, [row.id]: text };
      setComments(next);
      keepTyped({ comments: next, texts: drafts.current });
    };
    const usual = times.current.length >= 5 ? median(times.current) : content.seconds;

    if (row) began.current[row.id] = began.current[row.id] || Date.now();
    // At once and in no effect, which would clear the first letter of a fast typist.
    function goTo(place) {
      setAt(place);
      setSearch("");
      setAsked("");
    }
    // Once a row is drawn: an effect would take the focus from a fast typist.
    function show(place) {
      article.current = place;
      if (!place || current.current === place) return;
      current.current = place;
      queueMicrotask(() => {
        place.focus({ preventScroll: true });
        scrollTo(0, 0);
      });
    }
    // Once it is drawn: an effect would run after the first letter of a fast typist.
    function focusOpened(field) {
      if (field && opening.current) queueMicrotask(() => field.focus());
      if (field) opening.current = false;
    }
    function openComment() {
      setComment(comment ?? ((own && own.comment) || ""));
      opening.current = true;
    }

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
        if (form.kind === "choice" && line === "g" && seconds < row.read_s) {
          throw new Error(`Read the row, then rate it again: it cannot be read in ${seconds.toFixed(1)} seconds.`);
        }
        const label = form.kind === "label" && line.startsWith("+") ? line.slice(1) : line;
        const answer = {
          row: row.id,
          hash: row.hash,
          line,
          seconds,
          disputed: row.disputed,
          comment: (comment ?? ((own && own.comment) || "")).trim(),
          time: new Date(now).toISOString().slice(0, 19) + "+00:00",
        };
        const { after = [] } = (await save(answer)) || {};
        if (form.kind === "label" && line.startsWith("+") && !form.labels.includes(label)) {
          form.labels.push(label);
          setOrder([...order, label]);
        }
        if (now - work.current.last > PAUSE_S * 1000) work.current.since = now;
        work.current.last = now;
        times.current.push(seconds);
        const next = [...answers.filter((one) => one.row !== row.id), { ...answer, before: own }];
        delete drafts.current[row.id];
        keepTyped({ comments, texts: drafts.current });
        setAnswers(next);
        const rest =
          now - work.current.since > BREAK_S * 1000
            ? " You have worked for 25 minutes: take a break, every answer is saved."
            : "";
        if (rest) work.current.since = now;
        say([`Row ${at + 1} saved: ${shown(answer)}.${rest}`, ...after].join(" "));
        goTo(first(rows, next, at + 1));
      });
    const takeBack = () =>
      attempt(async () => {
        const last = answers[answers.length - 1],
          found = await undo(last);
        const [own] = (found && found.row) || [],
          id = own ? own.id : last && last.row;
        const isMine = last && last.row === id,
          before = isMine && last.before;
        const rest = answers.filter((one) => one.row !== id);
        if (before) await save(before);
        setAnswers(before ? [...rest, before] : rest);
        say(
          isMine
            ? `Taken back: ${shown(last)}.${before ? ` The answer is ${shown(before)} again.` : ""}`
            : "Taken back.",
        );
        const place = rows.findIndex((one) => one.id === id);
        if (place < 0) setRows([own, ...rows]);
        began.current[id] = Date.now();
        goTo(Math.max(0, place));
      });
    function shown({ line }) {
      if (line === content.cannot) return "cannot decide";
      if (line === content.decline) return "decline";
      const [key, ...text] = line.split(" ");
      if (form.kind === "label") return line.replace(/^\+/, "");
      return form.kind === "choice" ? [form.choices[key] || key, ...text].join(" ") : line;
    }
    // Past the last row come the rows that were skipped, and then the end.
    const move = (step) =>
      goTo(
        step > 0 && at + step >= rows.length ? first(rows, answers, 0) : Math.max(0, Math.min(at, rows.length) + step),
      );

    const isQuick = form.kind === "label" || form.kind === "choice"; // one key may answer
    function onKey(event) {
      const field = event.target.closest("input, textarea, select"),
        key = event.key;
      const inSearch = field && field.id === "search";
      const isSave = key === "Enter" && (event.ctrlKey || event.metaKey) && document.querySelector("form.answer");
      if (isSave) {
        event.preventDefault();
        isSave.requestSubmit();
        return;
      }
      const isRepeated = event.repeat && !"jk".includes(key); // a key that is held answers one row
      if (event.isComposing || isRepeated || ((event.ctrlKey || event.metaKey || event.altKey) && key !== "Escape")) return;
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
          const name = search.trim(),
            twin = same(form.labels, name);
          return done(() =>
            isNew ? pick(twin || `+${name}`) : found.length ? pick(found[0]) : say("No label matches."),
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
        ".": () => content.remarks && row && openComment(),
        // A form is left by its button: these keys could be meant for a field.
        "-": () => content.cannot && row && isQuick && pick(content.cannot),
        0: () => content.decline && row && isQuick && pick(content.decline),
      };
      const canSearch = row && form.kind === "label" && input.current;
      const find = (text) => {
        setSearch(text);
        input.current.focus();
      };
      const waiting = pending.current;
      pending.current = null;
      if (waiting) clearTimeout(waiting.timer);
      // "u" is a command, and "up" the beginning of a word.
      if (waiting && /^\p{L}$/u.test(key) && key !== waiting.key) return done(() => find(waiting.key + key));
      if (waiting) commands[waiting.key]();
      if (canSearch && !inSearch && "jku".includes(key)) {
        const timer = setTimeout(() => {
          pending.current = null;
          commands[key]();
        }, WORD_MS);
        pending.current = { key, timer };
        return done(() => {});
      }
      if (commands[key] && !(inSearch && key !== "?" && key !== "/")) return done(commands[key]);
      return key.length === 1 && key !== " " && !inSearch && canSearch ? done(() => find(key)) : undefined;
    }
    const handler = useRef(null);
    handler.current = onKey; // set while rendering: an effect would run after the next key of a fast typist
    useEffect(() => {
      const onKeyDown = (event) => handler.current(event);
      addEventListener("keydown", onKeyDown);
      return () => removeEventListener("keydown", onKeyDown);
    }, []);

    const form_ = { label: Labels, choice: Choices, json: Json, text: Text }[form.kind];
    return html`<div class="queue">
      <div class="status"><progress max=${rows.length} value=${by.size} aria-label="Rows done"></progress>
        <span>${by.size} of ${rows.length} rows done${left ? `, about ${minutes(left * usual)} min left` : ""}${
          times.current.length >= 5 ? `, ${Math.round(usual)} s a row` : ""
        }</span>
        <button type="button" onClick=${takeBack} disabled=${busy || (!answers.length && !content.n_done)}>
          Undo <kbd>u</kbd></button>
        <button type="button" onClick=${() => setHelp(!help)} aria-expanded=${help}>Help <kbd>?</kbd></button>${tools}</div>
      <p class="said" role="status">${said}</p>
      ${fault && html`<${Fault} error=${fault} />`}
      ${
        help &&
        html`<dl class="keys">${KEYS.filter(([, , kinds]) => !kinds || kinds.includes(form.kind)).map(
          ([key, text]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`,
        )}</dl>`
      }
      <div class="pair">${
        content.guideline &&
        html`<details class="guideline" open=${!matchMedia("(max-width: 700px)").matches}>
        <summary>Guideline</summary><${LongText} className="marked" text=${content.guideline} limit=${5000}
          format=${marked} /></details>`
      }
      <div class="work">${
        row
          ? html`
        <article class="row" key=${row.id} tabindex="-1" ref=${show} aria-label=${`Row ${at + 1} of ${rows.length}`}>
          <p class="muted">Row ${at + 1}${
            own && html`: your answer is <strong>${shown(own)}</strong>${own.comment && ` (${own.comment})`}`
          }</p>
          <${LongText} text=${row.text} />
          ${Object.entries(row.documents).map(
            ([name, text]) => html`<details key=${name}><summary>Document ${name}</summary>
            <${LongText} text=${text} limit=${5000} /></details>`,
          )}</article>
        <section class="answers" aria-label="Answer" aria-busy=${busy}>
          <${form_} key=${row.id} row=${row} form=${form} descriptions=${content.descriptions} order=${order} search=${search}
            setSearch=${setSearch} pick=${pick} asked=${asked} setAsked=${setAsked} input=${input}
            draft=${drafts.current[row.id] ?? (own && ![content.cannot, content.decline].includes(own.line) ? own.line : "")}
            keep=${(draft) => {
              drafts.current[row.id] = draft;
              keepTyped({ comments, texts: drafts.current });
            }} />
          <div class="more">
            ${
              content.decline &&
              html`<button type="button" onClick=${() => pick(content.decline)}>
              The model should decline to answer${isQuick && html` <kbd>0</kbd>`}</button>`
            }
            ${
              content.cannot &&
              html`<button type="button" onClick=${() => pick(content.cannot)}>
              Cannot decide${isQuick && html` <kbd>-</kbd>`}</button>`
            }
            ${
              content.remarks &&
              comment === undefined &&
              html`<button type="button" onClick=${openComment}>
              Comment <kbd>.</kbd></button>`
            }
            <button type="button" onClick=${() => move(-1)} disabled=${at === 0}>Previous row <kbd>k</kbd></button>
            <button type="button" onClick=${() => move(1)}>Skip for now <kbd>j</kbd></button></div>
          ${
            comment !== undefined &&
            html`<div class="field"><label for="comment">Comment, saved with your answer</label>
            <input id="comment" ref=${focusOpened} maxlength="2000" value=${comment}
              onInput=${(event) => setComment(event.target.value)} /></div>`
          }
        </section>`
          : html`<section class="end" tabindex="-1" ref=${show}><h2>All ${rows.length} rows are done.</h2>${end}</section>`
      }</div></div>
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
