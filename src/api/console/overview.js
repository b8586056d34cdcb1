// Pools as they stand, and what they did in the last hours.

import { query, read } from "./api.js";
import { bytes, element, seconds, table } from "./dom.js";

const HOURS = 3;
const MINUTES = 5;

export async function overview(main) {
  const since = new Date(Date.now() - HOURS * 3600e3).toISOString();
  const [pools, minutes, uses] = await Promise.all([
    read("/pools"),
    read(`/records/usage/sums?${query({ by: "minute", since })}`).catch(() => null),
    read(`/records/usage/sums?${query({ by: "pool", since })}`).catch(() => null),
  ]);
  const total = (name) => pools.value.reduce((sum, pool) => sum + pool.sessions[name], 0);
  const figure = (label, value) => element("div", { class: "figure" }, element("b", {}, value), element("span", {}, label));
  main.replaceChildren(
    element("h1", {}, "Overview"),
    element("div", { class: "cards" },
      figure("sessions", String(total("active"))),
      figure("running code", String(total("running"))),
      figure("executions waiting", String(total("waiting"))),
      figure("sandboxes ready", String(total("ready"))),
      figure("executions since the start", String(pools.value.reduce((sum, pool) => sum + pool.executions, 0))),
      figure("memory of sessions", bytes(total("memoryBytes")))),
    element("section", { class: "card" }, element("h2", {}, "Pools"), table("Pools", [
      ["Pool", (pool) => element("a", { href: `#/sessions/${encodeURIComponent(pool.name)}` }, pool.name)],
      ["Interpreter", (pool) => pool.interpreter],
      ["Sessions", (pool) => `${pool.sessions.active} / ${pool.maxConcurrentSessions}`, "number"],
      ["Running", (pool) => String(pool.sessions.running), "number"],
      ["Waiting", (pool) => String(pool.sessions.waiting), "number"],
      ["Ready", (pool) => String(pool.sessions.ready), "number"],
      ["Refused", (pool) => String(pool.rejections), "number"],
      ["Failed starts", (pool) => warn(pool.failedStarts), "number"],
      ["Overdue", (pool) => warn(pool.sessions.overdue), "number"],
      ["Allocation, half within", (pool) => seconds(pool.allocation.p50Seconds), "number"],
      ["99 of 100 within", (pool) => seconds(pool.allocation.p99Seconds), "number"],
    ], pools.value, "There is no pool.")),
    element("section", { class: "card" }, element("h2", {}, `Executions of the last ${HOURS} hours`),
      minutes ? chart(minutes.value) : element("p", { class: "soft" }, "This gateway keeps no records.")),
    uses && element("section", { class: "card" }, element("h2", {}, `Use in the last ${HOURS} hours`), table("Use", [
      ["Pool", (use) => use.group],
      ["Executions", (use) => String(use.executions), "number"],
      ["Time", (use) => seconds(use.wallSeconds), "number"],
      ["CPU", (use) => seconds(use.cpuSeconds), "number"],
      ["Memory", (use) => `${use.gibibyteSeconds.toFixed(2)} GiB s`, "number"],
      ["Output", (use) => bytes(use.outputBytes), "number"],
      ["Sessions ended", (use) => String(use.sessions), "number"],
      ["Held", (use) => seconds(use.allocatedSeconds), "number"],
      ["Of that idle", (use) => seconds(use.idleSeconds), "number"],
    ], uses.value, "Nothing was used.")) || "",
  );
}

function warn(number) {
  return element("span", { class: number > 0 ? "bad" : "" }, String(number));
}

/** Executions in steps of some minutes. */
function chart(sums) {
  const steps = (HOURS * 60) / MINUTES;
  const first = Math.floor(Date.now() / (MINUTES * 60e3)) - steps + 1;
  const counts = new Array(steps).fill(0);
  for (const sum of sums) {
    const at = Math.floor(Date.parse(sum.group) / (MINUTES * 60e3)) - first;
    if (at >= 0 && at < steps) counts[at] += sum.executions;
  }
  const most = Math.max(1, ...counts);
  const [width, height, below] = [720, 150, 18];
  const svg = (name, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const bars = counts.map((count, at) => {
    const tall = (count / most) * (height - below - 14);
    const bar = { x: (at * width) / steps + 1, y: height - below - tall, width: width / steps - 2, height: tall };
    return svg("rect", bar, svg("title", {}, `${count} executions from ${clock(first + at)}`));
  });
  const labels = [0, steps / 3, (2 * steps) / 3].map((at) =>
    svg("text", { x: (at * width) / steps, y: height - 4 }, clock(first + at)));
  const total = counts.reduce((sum, count) => sum + count, 0);
  return svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", preserveAspectRatio: "none",
    "aria-label": `${total} executions, at most ${most} in ${MINUTES} minutes` },
  svg("line", { x1: 0, x2: width, y1: height - below, y2: height - below }), ...bars, ...labels,
  svg("text", { x: 0, y: 11 }, `at most ${most} in ${MINUTES} minutes`));
}

function clock(step) {
  return new Date(step * MINUTES * 60e3).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
