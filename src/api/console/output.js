// What code shows. Only text and images come into the page itself; HTML gets a frame that reaches nothing.

import { element } from "./dom.js";

/** No output makes the page longer than this. */
const MOST_PIXELS = 1200;

/** Shows events of one execution below one another. */
export class Output {
  constructor(place) {
    this.place = place;
    this.displays = new Map();
    this.clear();
  }

  clear() {
    this.place.replaceChildren();
    this.last = null;
    this.clearLater = false;
  }

  show(name, event) {
    if (name === "clear_output") {
      if (event.wait) this.clearLater = true; else this.clear();
      return;
    }
    if (name === "done") return;
    if (this.clearLater) this.clear();
    if (name === "stdout" || name === "stderr") this.text(name, event.text);
    else if (name === "error") this.add(element("pre", { class: "error" }, trace(event)));
    else if (name === "update_display") this.update(event);
    else this.add(this.rich(event));
  }

  /** Text goes on where the last text ended. */
  text(kind, text) {
    if (this.last?.className !== kind) this.last = this.add(element("pre", { class: kind }));
    this.last.append(text);
  }

  add(shown) {
    this.last = null;
    this.place.append(shown);
    return shown;
  }

  rich(event) {
    const shown = bundle(event.data ?? {});
    if (event.display_id) this.displays.set(event.display_id, shown);
    return shown;
  }

  update(event) {
    const before = this.displays.get(event.display_id);
    const now = this.rich(event);
    if (before?.isConnected) before.replaceWith(now); else this.add(now);
  }
}

function trace(event) {
  const lines = event.traceback?.length ? event.traceback : [`${event.name}: ${event.value}`];
  // Colours of a terminal.
  return lines.join("\n").replace(/\x1b\[[0-9;]*m/g, "");
}

/** The richest part that can be shown. */
function bundle(data) {
  for (const type of ["image/png", "image/jpeg", "image/gif"]) {
    if (typeof data[type] === "string") return image(`data:${type};base64,${data[type].replace(/\s/g, "")}`, data);
  }
  // As an image, in which no script runs.
  if (typeof data["image/svg+xml"] === "string") {
    return image(`data:image/svg+xml,${encodeURIComponent(data["image/svg+xml"])}`, data);
  }
  if (typeof data["text/html"] === "string") return frame(data["text/html"]);
  if (data["application/json"] !== undefined && !data["text/plain"]) {
    return element("pre", {}, JSON.stringify(data["application/json"], null, 2));
  }
  return element("pre", {}, String(data["text/markdown"] ?? data["text/latex"] ?? data["text/plain"] ?? ""));
}

function image(src, data) {
  return element("img", { src, alt: String(data["text/plain"] ?? "An image that the code made") });
}

function frame(html) {
  const made = element("iframe", { sandbox: "allow-scripts", src: "/console/frame.html", title: "Output of the code" });
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const heard = (message) => {
    if (message.source !== made.contentWindow) {
      if (!made.isConnected) removeEventListener("message", heard);
      return;
    }
    if (message.data?.ready === true) made.contentWindow.postMessage({ html, dark }, "*");
    const height = Number(message.data?.height);
    if (height > 0) made.style.height = `${Math.min(height + 4, MOST_PIXELS)}px`;
  };
  addEventListener("message", heard);
  return made;
}
