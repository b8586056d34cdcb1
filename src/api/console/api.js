// Calls of the gateway. The key stays in the tab's storage.

const KEY = "sandpool-key";

export function key() {
  return sessionStorage.getItem(KEY) ?? "";
}

let asking = null;

/** Asks for a key, once for all who want one meanwhile. True when there is one now. */
export function askForKey() {
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

function ask() {
  const dialog = document.getElementById("ask");
  const input = document.getElementById("ask-key");
  input.value = key();
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const used = dialog.returnValue === "use";
      if (used && input.value) sessionStorage.setItem(KEY, input.value);
      if (used && !input.value) sessionStorage.removeItem(KEY);
      input.value = "";
      resolve(used);
    }, { once: true });
  });
}

/** The answer of a route; one that refuses the key asks for another and tries again. */
export async function call(path, { method = "GET", headers = {}, body, signal } = {}) {
  const authorization = key() ? { authorization: `Bearer ${key()}` } : {};
  const answer = await fetch(path, { method, headers: { ...headers, ...authorization }, body, signal });
  if (answer.status === 401 && await askForKey()) return call(path, { method, headers, body, signal });
  if (!answer.ok) {
    const refusal = await answer.json().catch(() => null);
    throw new Error(refusal?.error?.message ?? `the gateway answered ${answer.status}`);
  }
  return answer;
}

export async function read(path, options) {
  return (await call(path, options)).json();
}

export function query(values) {
  const told = Object.entries(values).filter(([, value]) => value !== "" && value != null);
  return new URLSearchParams(told).toString();
}

/** Runs code; `show(name, event)` for every event as it comes. */
export async function execute(pool, identifier, code, signal, show) {
  const answer = await call(`/pools/${encodeURIComponent(pool)}/executions?${query({ identifier })}`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ code }),
    signal,
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(part) ?? [];
      if (name) show(name, JSON.parse(data));
    }
  }
}
