// Elements. Text is only ever text here: names of files come from strangers, and nothing is parsed as HTML.

import { say } from "./words.js";

export const byId = (id) => document.getElementById(id);

/** An element with properties (or attributes, for names with a dash) and children; strings become text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

export function button(text, onclick, properties = {}) {
  return element("button", { type: "button", onclick, ...properties }, text);
}

/** Tell it to people who listen to the page rather than look at it. */
export function announce(text) {
  byId("announcement").textContent = text;
}

/** Ask before something is lost; true for yes. */
export function ask(text) {
  const dialog = byId("question");
  byId("question-text").textContent = text;
  dialog.returnValue = "";
  byId("question-yes").onclick = () => dialog.close("yes");
  byId("question-no").onclick = () => dialog.close("");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

/** Put the words of the chosen language into the page's own sentences. */
export function translate() {
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
}
