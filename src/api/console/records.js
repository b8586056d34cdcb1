// Sessions, executions, logs and the audit.

import { call, query, read } from "./api.js";
import { bytes, choice, element, field, seconds, table, tell, time } from "./dom.js";

/** Names of pools; what a pool of containers answers under its own paths is its containers' to say. */
async function pools(wanted = () => true) {
  return (await read("/pools")).value.filter(wanted).map((pool) => pool.name);
}

export async function sessions(main, [chosen]) {
  const names = await pools((pool) => pool.interpreter !== "container");
  const pool = chosen ?? names[0];
  const { sessions } = await read(`/pools/${encodeURIComponent(pool)}/listSessions`);
  const stop = async (session) => {
    await call(`/pools/${encodeURIComponent(pool)}/session?${query({ identifier: session.identifier })}`, { method: "DELETE" });
    tell("The session ended.");
    await sessionsAgain(main, pool);
  };
  const open = (session) => { sessionStorage.setItem("sandpool-session", session.identifier); sessionStorage.setItem("sandpool-pool", pool); location.hash = "#/notebook"; };
  main.replaceChildren(
    element("h1", {}, "Sessions"),
    element("div", { class: "bar" }, field("Pool", choice(names, pool, (name) => { location.hash = `#/sessions/${encodeURIComponent(name)}`; }))),
    element("section", { class: "card" }, table("Sessions", [
      ["Session", (session) => session.identifier],
      ["", (session) => element("span", { class: session.running ? "good" : "soft" }, session.running ? "running code" : "idle")],
      ["Made", (session) => time(session.createdAt)],
      ["Last used", (session) => time(session.lastAccessedAt)],
      ["Ends", (session) => time(session.expiresAt)],
      ["", (session) => element("span", { class: "actions" },
        element("button", { type: "button", onclick: () => open(session) }, "Open"),
        element("button", { type: "button", "aria-label": `Stop ${session.identifier}`, onclick: () => stop(session).catch((error) => tell(error.message)) }, "Stop"))],
    ], sessions, "No session is active.")));
}

const sessionsAgain = (main, pool) => sessions(main, [pool]);

/** A page of a table, with filters that fit it. */
async function page(main, { title, name, filters, columns, nothing }) {
  const names = await pools();
  const chosen = { pool: "", identifier: "", operation: "", top: "200" };
  const place = element("section", { class: "card" });
  const show = async () => {
    const { value } = await read(`/records/${typeof name === "function" ? name(chosen) : name}?${query({ ...chosen, kind: "" })}`);
    place.replaceChildren(table(title, columns(chosen), value, nothing));
  };
  const change = (key) => (value) => { chosen[key] = value; show().catch((error) => tell(error.message)); };
  const pool = choice(["", ...names], "", change("pool"));
  pool.options[0].textContent = "all";
  main.replaceChildren(
    element("h1", {}, title),
    element("div", { class: "bar" }, filters(change), field("Pool", pool),
      field("Session", element("input", { type: "search", placeholder: "identifier", onchange: (event) => change("identifier")(event.target.value) })),
      element("button", { type: "button", onclick: () => change("top")("200") }, "Again")),
    place);
  await show();
}

export function logs(main) {
  return page(main, {
    title: "Logs",
    name: (chosen) => chosen.kind ?? "console",
    filters: (change) => field("Log", choice(["console", "lifecycle", "pools"], "console", change("kind"))),
    nothing: "Nothing was logged.",
    columns: (chosen) => [
      ["Time", (row) => time(row.TimeGenerated)],
      ["Pool", (row) => row.SessionPoolName],
      ["Session", (row) => row.PodName],
      [(chosen.kind ?? "console") === "console" ? "Stream" : "What", (row) => row.Stream ?? row.OperationName],
      ["Log", (row) => element("span", { class: row.Level === "Error" ? "bad" : "" }, row.Log), "log"],
    ],
  });
}

export function executions(main) {
  return page(main, {
    title: "Executions",
    name: "usage",
    filters: () => null,
    nothing: "No code ran.",
    columns: () => [
      ["Time", (row) => time(row.TimeGenerated)],
      ["Pool", (row) => row.SessionPoolName],
      ["Session", (row) => row.PodName],
      ["Caller", (row) => row.Caller],
      ["End", (row) => element("span", { class: row.Outcome === "finished" ? "good" : row.Outcome ? "bad" : "soft" }, row.Outcome ?? "session ended")],
      ["Waited", (row) => seconds(row.QueuedSeconds), "number"],
      ["Time", (row) => seconds(row.WallSeconds ?? row.AllocatedSeconds), "number"],
      ["CPU", (row) => seconds(row.CpuSeconds), "number"],
      ["Output", (row) => (row.OutputBytes == null ? "–" : bytes(row.OutputBytes)), "number"],
    ],
  });
}

export function audit(main) {
  return page(main, {
    title: "Audit",
    name: "audit",
    filters: (change) => field("Operation", element("input", { type: "search", placeholder: "Execute", onchange: (event) => change("operation")(event.target.value) })),
    nothing: "Nobody asked anything.",
    columns: () => [
      ["Time", (row) => time(row.TimeGenerated)],
      ["Caller", (row) => row.Caller],
      ["From", (row) => row.CallerIpAddress],
      ["What", (row) => row.OperationName],
      ["Pool", (row) => row.SessionPoolName],
      ["Session", (row) => row.PodName],
      ["Status", (row) => element("span", { class: row.StatusCode < 400 ? "good" : "bad" }, String(row.StatusCode)), "number"],
      ["Code", (row) => row.ErrorCode],
      ["ms", (row) => row.DurationMs.toFixed(2), "number"],
    ],
  });
}
