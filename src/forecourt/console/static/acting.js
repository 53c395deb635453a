// Buttons that do something: ask whether it is meant, do it, say what was done.

import { act } from "./calls.js";
import { $, el, show, write } from "./dom.js";

let shown = null;

export function say(words, bad = false) {
  const said = $("#said");
  said.classList.toggle("bad", bad);
  said.setAttribute("role", bad ? "alert" : "status");
  write(said, words);
  clearTimeout(shown);
  if (!bad) shown = setTimeout(() => write(said, ""), 15_000);
}

/* Ask in a dialog; null: leave it. Else what was typed, where `asks` names something to be typed. */
export function sure(title, words, yes, asks = "") {
  const dialog = $("#sure");
  write($("#sure-title"), title);
  write($("#sure-words"), words);
  const ask = $("#sure-ask");
  show(ask, asks !== "");
  write($("span", ask), asks);
  const input = $("input", ask);
  input.value = "";
  write($("button.main", dialog), yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes" ? input.value.trim() : null), { once: true });
  });
}

export async function doing(button, kind, given) {
  button.disabled = true;
  try {
    say(`${await act(kind, given)}.`);
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
}

/* A button of a row. `given(item)` is what the action is told; `ask(item)` what is asked first, if anything. */
export function button(row, words, kind, given, ask) {
  return el(
    "button",
    {
      type: "button",
      onclick: async (event) => {
        const item = row.item;
        const pressed = event.currentTarget;
        const asked = ask?.(item);
        const answer = asked ? await sure(...asked) : "";
        if (answer === null) return;
        const told = given(item, answer);
        if (told) await doing(pressed, kind, told);
      },
    },
    words,
  );
}
