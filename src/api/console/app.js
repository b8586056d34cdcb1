// Which page is shown: the part of the address behind `#`.

import { askForKey } from "./api.js";
import { element } from "./dom.js";
import { notebook } from "./notebook.js";
import { overview } from "./overview.js";
import { audit, executions, logs, sessions } from "./records.js";

const PAGES = { "": overview, notebook, sessions, executions, logs, audit };
/** What is drawn again by itself, in milliseconds. */
const AGAIN = { "": 5000 };

let timer;

async function show(moved) {
  clearTimeout(timer);
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const page = PAGES[name] ?? overview;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#/${name}`;
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  try {
    await page(main, rest);
    document.title = `${main.querySelector("h1")?.textContent ?? "Console"} – Sandpool`;
  } catch (error) {
    main.replaceChildren(element("h1", {}, "That did not work"), element("p", { class: "bad" }, error.message),
      element("button", { type: "button", onclick: () => show() }, "Try again"));
  }
  if (moved && name !== "notebook") main.focus({ preventScroll: true });
  if (AGAIN[name]) timer = setTimeout(() => { if (!document.hidden) show(); else again(); }, AGAIN[name]);
}

/** Nobody looks: the next drawing waits for somebody who does. */
function again() {
  document.addEventListener("visibilitychange", () => show(), { once: true });
}

document.getElementById("key").addEventListener("click", async () => { if (await askForKey()) show(); });
addEventListener("hashchange", () => show(true));
show();
