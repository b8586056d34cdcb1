// Cells that run in one session, one after the other.

import { call, execute, query, read } from "./api.js";
import { choice, element, field, seconds, tell } from "./dom.js";
import { Output } from "./output.js";

const kept = (key, otherwise) => sessionStorage.getItem(key) ?? otherwise;

export async function notebook(main) {
  const pools = (await read("/pools")).value.filter((pool) => pool.interpreter !== "container").map((pool) => pool.name);
  const state = {
    pool: pools.includes(kept("sandpool-pool", "")) ? kept("sandpool-pool", "") : pools[0],
    session: kept("sandpool-session", `console-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`),
    count: 0,
  };
  const keep = () => { sessionStorage.setItem("sandpool-pool", state.pool); sessionStorage.setItem("sandpool-session", state.session); };
  keep();
  const cells = element("div", { id: "cells" });
  const addCell = () => { const made = cell(state, addBelow); cells.append(made.place); return made; };
  const addBelow = (place) => {
    const next = place.nextElementSibling;
    if (next) next.querySelector("textarea").focus(); else addCell().editor.focus();
  };
  const restart = async () => {
    await call(`/pools/${encodeURIComponent(state.pool)}/session?${query({ identifier: state.session })}`, { method: "DELETE" });
    state.count = 0;
    tell("The session starts afresh.");
  };
  main.replaceChildren(
    element("h1", {}, "Notebook"),
    element("div", { class: "bar" },
      field("Pool", choice(pools, state.pool, (pool) => { state.pool = pool; keep(); })),
      field("Session", element("input", { value: state.session, size: 44, minlength: 4, maxlength: 128, spellcheck: "false",
        onchange: (event) => { state.session = event.target.value; keep(); } })),
      element("button", { type: "button", onclick: () => addCell().editor.focus() }, "Add a cell"),
      element("button", { type: "button", onclick: () => restart().catch((error) => tell(error.message)) }, "Restart the session")),
    cells,
    element("p", { class: "soft" }, "Shift+Enter runs a cell and goes on to the next one; Ctrl+Enter runs it and stays."));
  addCell().editor.focus();
}

function cell(state, goOn) {
  const editor = element("textarea", { rows: 3, "aria-label": "Code", spellcheck: "false", autocapitalize: "off" });
  const count = element("div", { class: "count", "aria-hidden": "true" }, "[ ]");
  const output = element("div", { class: "output", role: "log", "aria-label": "Output" });
  const note = element("span", { class: "soft", role: "status" });
  const shown = new Output(output);
  let running = null;
  const run = async () => {
    if (running) return;
    running = new AbortController();
    button.textContent = "Interrupt";
    count.textContent = "[*]";
    note.textContent = "running";
    shown.clear();
    try {
      await execute(state.pool, state.session, editor.value, running.signal, (name, event) => {
        shown.show(name, event);
        if (name === "done") note.textContent = ended(event);
      });
    } catch (error) {
      note.textContent = error.name === "AbortError" ? "interrupted" : error.message;
    }
    running = null;
    button.textContent = "Run";
    state.count += 1;
    count.textContent = `[${state.count}]`;
  };
  const button = element("button", { type: "button", class: "main", onclick: () => (running ? running.abort() : run()) }, "Run");
  const place = element("section", { class: "cell", "aria-label": "Cell" }, count,
    element("div", {}, editor, element("div", { class: "actions" }, button, note), output));
  editor.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.shiftKey || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      run();
      if (event.shiftKey) goOn(place);
    } else if (event.key === "Tab" && !event.shiftKey && editor.selectionStart > 0) {
      // At the beginning it leaves the field, as everywhere.
      event.preventDefault();
      editor.setRangeText("    ", editor.selectionStart, editor.selectionEnd, "end");
    }
  });
  editor.addEventListener("input", () => { editor.rows = Math.min(30, Math.max(3, editor.value.split("\n").length)); });
  return { place, editor };
}

/** The end of an execution in words. */
function ended(done) {
  const took = done.executionTimeInMilliseconds;
  const words = [done.status, took == null ? null : seconds(took / 1000)];
  if (done.sessionCreated) words.push("a new session");
  if (done.sessionRolledBack) words.push("the session is as it was before");
  if (done.sessionDiscarded) words.push("the session ended");
  return words.filter(Boolean).join(" · ");
}
