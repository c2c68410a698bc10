// Elements. Text enters the page as text nodes only; nothing here, or anywhere, parses markup.

/** @returns {any} the one element that the selector names */
export const $ = (selector, root = document) => root.querySelector(selector);

/** Make an element with properties and children; a string child becomes a text node. */
export function el(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an SVG element with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Say something in a note, or hide it where there is nothing to say. */
export function say(note, text, isBad = false) {
  note.textContent = text;
  note.hidden = !text;
  note.classList.toggle("bad", isBad);
}

/** Give the focus where the page does not scroll for it. */
export const focus = (element) => element?.focus({ preventScroll: true });

/** Hide what may have the focus; `heir` gets it then, so that the keyboard does not begin anew. */
export function hide(element, heir) {
  if (element === document.activeElement) focus(heir);
  element.hidden = true;
}

/** Whether nothing has the focus: what had it is gone. */
export const isFocusLost = () => document.activeElement === document.body;

/** Whether a key belongs to an input method. Safari tells its last one by the code alone. */
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

/** Do what `act` says when the dialog's form is sent; it closes if that succeeds, else its note tells. */
export function onSubmit(dialog, act) {
  const [form, note, send] = [$("form", dialog), $(".note", dialog), $(".primary", dialog)];
  $(".cancel", dialog).addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    try {
      say(note, "");
      await act();
      dialog.close();
    } catch (problem) {
      say(note, problem.message, true);
    } finally {
      send.disabled = false;
    }
  });
}
