// The shell of `ui`: the navigation, the address of a view, and the view.
"use strict";
(() => {
  const { html, render, useState, useEffect, views, api, Fault } = window.tuneworthy;

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

  function App({ project }) {
    const [at, set] = useState(route());
    useEffect(() => {
      const changed = () => set(route());
      addEventListener("hashchange", changed);
      return () => removeEventListener("hashchange", changed);
    }, []);
    const names = project.views.filter((name) => views[name]);
    const name = names.includes(at.view) ? at.view : names[0];
    const { component: View, title } = views[name];
    useEffect(() => { document.title = `${title}: ${project.task}`; }, [title]);
    return html`
      <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to content</a>
      <header><strong>${project.task}</strong>
        <nav aria-label="Views">${names.map((one) => html`
          <a href=${`#/${one}`} aria-current=${one === name ? "page" : undefined}>${views[one].title}</a>`)}</nav>
      </header>
      <main id="main" tabindex="-1"><${View} project=${project} query=${at.query} go=${(query, how) => go(name, query, how)} /></main>`;
  }

  const place = document.getElementById("app");
  api("project").then((project) => render(html`<${App} project=${project} />`, place),
    (error) => render(html`<main><${Fault} error=${error} /></main>`, place));
})();
