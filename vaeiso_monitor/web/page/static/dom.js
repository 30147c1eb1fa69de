// Elements by hand: every text goes in as a text node, so what comes from a record can never be markup.

export const $ = (id) => document.getElementById(id);

/** Make an element; `properties` are attributes, or listeners where the name begins with "on". */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value === false) continue;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set a text only where it changes, so that a screen reader hears nothing twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Put `children` in, unless they would look as what is there. */
export function show(element, ...children) {
  const fresh = make("div", {}, ...children);
  if (fresh.innerHTML !== element.innerHTML) element.replaceChildren(...fresh.childNodes);
}

export const empty = (words) => make("p", { class: "empty" }, words);

let hiding = 0;
/** Tell what came of an action, for some seconds. */
export function tell(words) {
  $("said").textContent = words.charAt(0).toUpperCase() + words.slice(1);
  clearTimeout(hiding);
  hiding = setTimeout(() => { $("said").textContent = ""; }, 7000);
}

/** Ask with a dialog; resolves to its form if it was confirmed, else to null. */
export function confirmed(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? dialog.querySelector("form") : null);
    }, { once: true });
    dialog.showModal();
  });
}
