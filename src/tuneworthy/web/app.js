// The shell of `ui`: the navigation, the address of a view, and the view.
"use strict";
(() => {
  const { html, render, useState, useEffect, useRef, views, api, setToken, useApi, Fault } = window.tuneworthy;

  // "#/failures?a=prompt" -> {view: "failures", query: {a: "prompt"}}
  function route() {
    const [view, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    return { view, query: Object.fromEntries(new URLSearchParams(query)) };
  }
  // Changes the address; a view that only filters replaces it, so that "back" leaves the view.
  function go(view, query = {}, { replace = false } = {}) {
    const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null));
    const hash = `#/${view}${words.size ? `?${words}` : ""}`;
    history[replace ? "replaceState" : "pushState"](null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  }
  window.tuneworthy.go = go;

  // "#token=..." is stored and leaves the address at once; the view before it stays. A wrong one is given up again.
  function takeToken(before) {
    const [, token] = /^#token=([\w-]+)$/.exec(location.hash) || [];
    if (token) setToken(token);
    if (token) history.replaceState(null, "", before || location.pathname);
    return Boolean(token);
  }

  function TokenForm() {
    const [fault, set] = useState("");
    const submit = (event) => {
      event.preventDefault();
      const [, token] = /(?:^|token=)([\w-]{20,})$/.exec(event.target.elements.token.value.trim()) || [];
      if (!token) return set("This is not a token. It is the part of the address after token=.");
      setToken(token);
      return retry().then((isOpen) => set(isOpen ? "" : "The server did not accept this token."));
    };
    return html`<form class="token" onSubmit=${submit}>
      <label for="token">Address that <code>tuneworthy ui</code> printed, or its token</label>
      <div><input id="token" name="token" autocomplete="off" spellcheck=${false} aria-describedby="token-fault" />
        <button>Open</button></div>
      <p id="token-fault" role="alert">${fault}</p></form>`;
  }
  // Asks the server again; "back" repeats the reads of the view.
  const retry = () => api("project").then(() => dispatchEvent(new Event("back")), () => false);

  function Absence({ status, isOpen }) {
    const safe = isOpen ? "Nothing on this page is lost." : "";
    if (status === 401) {
      return html`<section class="fault" aria-label="Token">${!isOpen && html`<h1>Enter the token</h1>`}
        <p role="alert">The token is missing, or belongs to another start of <code>tuneworthy ui</code>. ${safe}</p>
        <${TokenForm} /></section>`;
    }
    return html`<section class="fault" aria-label="Server"><p role="alert">The server does not answer. Run
      ${" "}<code>tuneworthy ui</code> again. ${safe}</p>
      <p><button type="button" onClick=${retry}>Try again</button></p></section>`;
  }

  function App() {
    const [at, set] = useState(route());
    const [status, setStatus] = useState(200);
    const { data: project, error } = useApi("project");
    const lastHash = useRef(location.hash);
    const lastView = useRef();
    useEffect(() => {
      const changed = () => {
        if (takeToken(lastHash.current)) retry();
        lastHash.current = location.hash;
        set(route());
      };
      const answered = (event) => setStatus(event.detail);
      addEventListener("hashchange", changed);
      addEventListener("answered", answered);
      return () => { removeEventListener("hashchange", changed); removeEventListener("answered", answered); };
    }, []);
    const names = project ? project.views.filter((name) => views[name]) : [];
    const name = names.includes(at.view) ? at.view : names[0];
    const { component: View, title } = views[name] || {};
    useEffect(() => {
      if (!title) return;
      document.title = `${title}: ${project.task}`;
      if (lastView.current) { scrollTo(0, 0); document.getElementById("main").focus({ preventScroll: true }); }
      lastView.current = name;
    }, [title]);
    const skip = (event) => { event.preventDefault(); document.getElementById("main").focus(); };
    const isAway = status === 0 || status === 401;
    return html`
      <a class="skip" href="#main" onClick=${skip}>Skip to content</a>
      ${project && html`<header><strong>${project.task}</strong>
        <nav aria-label="Views">${names.map((one) => html`
          <a href=${`#/${one}`} aria-current=${one === name ? "page" : undefined}>${views[one].title}</a>`)}</nav>
      </header>`}
      ${isAway && html`<${Absence} status=${status} isOpen=${Boolean(project)} />`}
      <main id="main" tabindex="-1" aria-label=${title}>
        ${View && html`<${View} key=${name} project=${project} query=${at.query}
          go=${(query, how) => go(name, query, how)} />`}
        ${!View && !isAway && error && html`<${Fault} error=${error} />`}</main>`;
  }

  takeToken("");
  render(html`<${App} />`, document.getElementById("app"));
})();
