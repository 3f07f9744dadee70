"""The shell of `ui` in Chromium: the token, views, a server that stops, a proxy with a prefix, and hostile pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.served import violations
from tests.web.running import SECRET, TOKEN, RunningPage, running
from tuneworthy.web import security
from tuneworthy.web.security import Gate
from tuneworthy.web.server import SCRIPTS

pytestmark = pytest.mark.slow
# In the place of the scripts of the views: two views, of which one has a field and shows what the server sent.
VIEWS = """(() => { const { html, useApi, views } = window.tuneworthy;
  views.failures = { title: "Failures", component: ({ query, go }) => { const { data, error } = useApi("rows", query);
    return error ? html`<p id="lost">${error.message}</p>` : html`<h1>Failures</h1>
      <label>Comment <input id="comment" /></label><p id="rows">${data && JSON.stringify(data)}</p>
      <button onClick=${() => go({ a: "prompt" }, { replace: true })}>Filter</button>`; } };
  views.history = { title: "History", component: () => html`<h1>History</h1>` }; })();"""
SMALL = """() => [...document.querySelectorAll('a, button, input')].filter(one => one.checkVisibility()
  && !one.matches('.skip') && Math.min(one.offsetWidth, one.offsetHeight) < 24).map(one => one.outerHTML)"""
MINE = ("preact.js", "common.js", "app.js")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningPage]:
    with running(tmp_path) as page:
        yield page


def fulfil(text: str, route: Any) -> None:
    route.fulfill(body=text, content_type="text/javascript")


class Tab:
    """A tab of the browser, with the messages of its console."""

    def __init__(self, browser: Any, **settings: Any) -> None:
        self.page = browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | settings))
        self.page.set_default_timeout(5000)
        self.messages: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        others = [name for name in SCRIPTS if name not in MINE]
        for name in others:
            text = VIEWS if name == others[-1] else ""
            self.page.route(f"**/static/{name}", partial(fulfil, text))

    def open(self, address: str) -> Any:
        self.page.goto(address)
        return self.page


def test_the_token_leaves_the_address_at_once_and_the_page_survives_a_reload(browser: Any, server: RunningPage) -> None:
    tab = Tab(browser)
    page = tab.open(f"http://127.0.0.1:{server.port}/#token={TOKEN}")
    page.get_by_text(SECRET).first.wait_for()
    assert TOKEN not in page.url and TOKEN not in page.content()
    page.get_by_role("link", name="History").click()
    page.reload()
    page.get_by_role("heading", name="History").wait_for()
    assert page.url.endswith("/#/history") and page.title() == f"History: {SECRET}"
    assert page.evaluate("() => history.length") == 3  # an empty tab and two views: the entry with the token is gone
    assert tab.messages == []


def test_a_permalink_without_a_token_asks_for_it_and_shows_the_same_view(browser: Any, server: RunningPage) -> None:
    page = Tab(browser).open(f"http://127.0.0.1:{server.port}/#/failures?a=prompt")
    page.get_by_label("tuneworthy ui printed").fill("not a token")
    page.get_by_role("button", name="Open").click()
    page.get_by_text("This is not a token.").wait_for()
    page.get_by_label("tuneworthy ui printed").fill("x" * len(TOKEN))
    page.get_by_role("button", name="Open").click()
    page.get_by_text("did not accept this token").wait_for()
    page.get_by_label("tuneworthy ui printed").fill(f"http://127.0.0.1:{server.port}/#token={TOKEN}")
    page.keyboard.press("Enter")
    page.get_by_text('{"a":"prompt"}').wait_for()
    assert page.url.endswith("#/failures?a=prompt") and page.locator("form").count() == 0


def test_a_word_in_a_permalink_is_not_taken_for_a_token(browser: Any, server: RunningPage) -> None:
    page = Tab(browser).open(f"http://127.0.0.1:{server.port}/#token={TOKEN}")
    page.get_by_text(SECRET).first.wait_for()
    page.evaluate("() => { location.hash = '#/failures?search=token=abcdefghijklmnopqrstuvwxyz'; }")
    page.get_by_text("abcdefghijklmnopqrstuvwxyz").wait_for()
    assert "search=" in page.url


def test_what_is_typed_survives_a_server_that_stops_and_starts_with_another_token(browser: Any, tmp_path: Path) -> None:
    tab = Tab(browser)
    with running(tmp_path) as server:
        page = tab.open(f"http://127.0.0.1:{server.port}/#token={TOKEN}")
        page.locator("#comment").fill("half a sentence")
        page.get_by_text(SECRET).first.wait_for()
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("The server does not answer. Run").wait_for()
    assert page.locator("#comment").input_value() == "half a sentence" and SECRET in page.locator("#rows").inner_text()
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Try again").click()
    other = TOKEN[::-1]
    with running(tmp_path, port=server.port, token=other):
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("belongs to another").wait_for()
        page.get_by_label("tuneworthy ui printed").fill(other)
        page.keyboard.press("Enter")
        page.get_by_text('{"a":"prompt"}').wait_for()
        assert page.locator("section.fault").count() == 0
        assert page.locator("#comment").input_value() == "half a sentence"


def test_a_new_token_in_the_address_of_an_open_page_is_taken(browser: Any, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        page = Tab(browser).open(f"http://127.0.0.1:{server.port}/#/failures?a=few_shots")
        page.get_by_label("tuneworthy ui printed").wait_for()
        page.evaluate(f"() => {{ location.hash = '#token={TOKEN}'; }}")
        page.get_by_text('{"a":"few_shots"}').wait_for()
        assert page.url.endswith("#/failures?a=few_shots")


@pytest.mark.parametrize("wrong", ["short", "x" * 43])
def test_a_wrong_token_in_the_address_does_not_replace_one_that_works(
    wrong: str, browser: Any, server: RunningPage
) -> None:
    page = Tab(browser).open(f"http://127.0.0.1:{server.port}/#token={TOKEN}")
    page.get_by_text(SECRET).first.wait_for()
    with page.expect_response(lambda answer: answer.status == 200 and "api/project" in answer.url):
        page.evaluate(f"() => {{ location.hash = '#token={wrong}'; }}")
    page.reload()
    page.get_by_text(SECRET).first.wait_for()
    page.goto("about:blank")
    page.goto(f"http://127.0.0.1:{server.port}/#token={wrong}")
    page.get_by_text(SECRET).first.wait_for()
    page.reload()
    page.get_by_text(SECRET).first.wait_for()
    assert page.evaluate("() => Object.values(sessionStorage)") == [TOKEN]


def test_the_focus_follows_the_view_and_a_filter_is_no_step_back(browser: Any, server: RunningPage) -> None:
    page = Tab(browser).open(f"http://127.0.0.1:{server.port}/#token={TOKEN}")
    page.get_by_role("link", name="History").click()
    page.get_by_role("heading", name="History").wait_for()
    assert page.evaluate("() => document.activeElement.id") == "main"
    page.get_by_role("link", name="Failures").click()
    page.get_by_role("button", name="Filter").click()
    page.get_by_text('{"a":"prompt"}').wait_for()
    assert page.evaluate("() => document.activeElement.tagName") == "BUTTON"
    page.go_back()
    page.get_by_role("heading", name="History").wait_for()
    page.keyboard.press("Tab")
    assert page.get_by_role("link", name="History").get_attribute("aria-current") == "page"


def proxy_of(prefix: str, port: int) -> type[BaseHTTPRequestHandler]:
    """Return a proxy that strips a prefix and adds headers, as jupyter-server-proxy does."""

    class PrefixProxy(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(f"{prefix}/"):
                return self.send_error(404)
            headers = dict(self.headers.items()) | {"X-Forwarded-Context": prefix, "X-Forwarded-Prefix": prefix}
            inner = HTTPConnection("127.0.0.1", port, timeout=20)
            inner.request(self.command, self.path.removeprefix(prefix), body or None, headers)
            found = inner.getresponse()
            content = found.read()
            inner.close()
            self.send_response(found.status)
            for name, value in found.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            return None

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None: ...

    return PrefixProxy


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_behind_a_proxy_with_a_prefix_all_of_the_page_works(browser: Any, server: RunningPage) -> None:
    prefix = "/user/ada/proxy/8100"
    tab = Tab(browser)
    with served(proxy_of(prefix, server.port)) as port:
        page = tab.open(f"http://localhost:{port}{prefix}/#token={TOKEN}")
        page.get_by_text(SECRET).first.wait_for()
        assert page.url == f"http://localhost:{port}{prefix}/"
        page.get_by_role("link", name="Failures").click()
        page.get_by_text('"rows"').wait_for()
        answer = page.evaluate("() => window.tuneworthy.api('queue/answer', { body: { row: 'a' } })")
        assert answer == {"stored": SECRET} and server.writes == [{"row": "a"}]
        assert page.evaluate("() => getComputedStyle(document.body).margin") == "0px"  # the style sheet is there
    assert tab.messages == []


HOSTILE = """async ([port, token]) => {
  const at = `http://127.0.0.1:${port}`, body = JSON.stringify({ row: "a" }), found = [];
  const json = { "Content-Type": "application/json" }, bearer = { Authorization: `Bearer ${token}` };
  const tries = [
    [`${at}/api/project`, {}], [`${at}/api/project`, { headers: bearer }], [`${at}/api/project`, { mode: "no-cors" }],
    [`${at}/api/queue/answer`, { method: "POST", body, mode: "no-cors" }],
    [`${at}/api/queue/answer`, { method: "POST", body, headers: { ...json, ...bearer } }],
    [`${at}/api/queue/answer`, { method: "POST", body: new URLSearchParams({ row: "a" }), mode: "no-cors" }],
    [`http://localhost:${port}/api/project`, { headers: bearer, credentials: "include" }],
    [`${at}/static/app.js`, { mode: "no-cors" }], [`${at}/`, {}],
  ];
  for (const [address, how] of tries) {
    await fetch(address, how).then(async (answer) => found.push(await answer.text()), () => {});
  }
  const load = (name, more) => new Promise((end) => {
    const ends = { onload: () => end("loaded"), onerror: () => end("") };
    document.body.append(Object.assign(document.createElement(name), more, ends));
  });
  found.push(await load("script", { src: `${at}/static/common.js` }), await load("img", { src: `${at}/` }));
  found.push(await load("link", { rel: "stylesheet", href: `${at}/static/page.css` }));
  const opened = window.open(`${at}/#token=${"x".repeat(40)}`);
  await new Promise((end) => setTimeout(end, 500));
  found.push(opened && !opened.closed && opened.document ? "opened" : "");
  const form = Object.assign(document.createElement("form"), {
    method: "post", action: `${at}/api/queue/answer`, enctype: "text/plain", target: "away" });
  const frame = Object.assign(document.createElement("iframe"), { name: "away" });
  form.innerHTML = `<input name='{"row":"a","b":"' value='"}'>`;
  document.body.append(frame, form);
  form.submit();
  await new Promise((end) => { frame.onload = end; setTimeout(end, 1000); });
  return found.filter(Boolean);
}"""


class HostilePage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>hostile</title><body>")

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_page_in_the_same_browser_reads_and_writes_nothing(
    browser: Any, server: RunningPage, host: str
) -> None:
    """Also with the token, which it cannot have."""
    with served(HostilePage) as port:
        page = browser.new_page()
        page.goto(f"http://{host}:{port}/")
        assert page.evaluate(HOSTILE, [server.port, TOKEN]) == []
    assert server.writes == []


def test_without_guards_such_a_page_writes(browser: Any, tmp_path: Path) -> None:
    bare = partial(Gate, guards=(), body_guards=())
    with running(tmp_path, bare) as server, served(HostilePage) as port:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.evaluate(HOSTILE, [server.port, TOKEN])
        assert len(server.writes) >= 2  # with fetch, and with a form


@pytest.mark.parametrize("has_policy", [True, False])
def test_inserted_html_and_code_run_only_without_the_policy(
    browser: Any, server: RunningPage, has_policy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_policy:
        monkeypatch.setattr(security, "HEADERS", {})
    page = Tab(browser).open(f"http://127.0.0.1:{server.port}/#token={TOKEN}")
    page.get_by_text(SECRET).first.wait_for()
    page.evaluate("""() => {
      window.ran = [];
      document.body.insertAdjacentHTML("beforeend", `<img src=x onerror="ran.push('handler')">
        <p id="a" style="color: red">a</p>
        <iframe srcdoc="<script>parent.ran.push('frame')</script>"></iframe>
        <a id="b" href="javascript:ran.push('link')">b</a>`);
      document.body.append(Object.assign(document.createElement("script"), { textContent: "ran.push('script')" }));
      document.getElementById("b").click();
      setTimeout("ran.push('text')");
    }""")
    page.wait_for_timeout(500)
    expected = [] if has_policy else ["frame", "handler", "link", "script", "text"]
    assert sorted(page.evaluate("() => window.ran")) == expected
    is_red = page.evaluate("() => getComputedStyle(document.getElementById('a')).color") == "rgb(255, 0, 0)"
    assert is_red is not has_policy


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 768, 390])
def test_the_shell_is_accessible_in_each_state(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    tab = Tab(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)

    def check(page: Any) -> None:
        assert violations(page) == page.evaluate(SMALL) == []

    with running(tmp_path) as server:
        page = tab.open(f"http://127.0.0.1:{server.port}/")
        page.get_by_label("tuneworthy ui printed").wait_for()
        check(page)
        page.get_by_label("tuneworthy ui printed").fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Failures").wait_for()
        check(page)
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("The server does not answer. Run").wait_for()
    check(page)
