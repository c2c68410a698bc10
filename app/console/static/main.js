// The page: parts put together, and what they tell each other.
import { json, key, onKeyWanted } from "./api.js";
import { Answers } from "./answers.js";
import { Code } from "./code.js";
import { Dial } from "./dial.js";
import { $, hide, isComposing, onSubmit, say } from "./dom.js";
import { Personas } from "./personas.js";
import { bodyOf, COLUMNS, fill, newReply } from "./question.js";
import { Session } from "./session.js";
import { Shares, showHealth, whileSeen } from "./shares.js";
import { local } from "./storage.js";
import { exportFile, importFile } from "./transfer.js";

const MODEL_EVERY_MS = 30_000; // the gateway itself looks no more often at what its engine serves
const narrow = matchMedia("(max-width: 860px)");
const state = {
  model: null, ownThreshold: 0.5, threshold: null, personaId: null, running: null, works: 0,
};

const answers = new Answers($("#answers"), askAgain, (column) => code.show(session.current.replies[column].body));
const code = new Code();
const session = new Session(showAsked);
const dial = new Dial($("#dial"), setThreshold);
const personas = new Personas(setPersona);
const shares = new Shares();

// Asking

function question() {
  return {
    text: $("#question").value.trim(),
    personaId: state.personaId,
    threshold: state.threshold,
    isolation: $("#isolation").value,
    temperature: $("#temperature").valueAsNumber,
    maxTokens: $("#max-tokens").valueAsNumber,
  };
}

async function ask() {
  const asked = question();
  if (!asked.text || state.running) return;
  await whileRunning(async (signal) => {
    await findModel({ signal });
    const bodies = COLUMNS.map((column) => [column, bodyOf(asked, column, state.model)]);
    session.add(asked, Object.fromEntries(bodies.map(([column, body]) => [column, newReply(column, body)])));
    showSession();
    await fillColumns(session.current, COLUMNS, signal);
  });
}

async function askAgain(column) {
  const asked = session.current;
  await whileRunning(async (signal) => {
    asked.replies[column] = newReply(column, asked.replies[column].body);
    await fillColumns(asked, [column], signal);
  });
}

/** Do the work with a way to stop it, and what else is running with it. */
async function whileRunning(work) {
  state.running ??= new AbortController();
  state.works += 1;
  showRunning();
  try {
    await work(state.running.signal);
  } finally {
    state.works -= 1;
    if (!state.works) state.running = null;
    showRunning();
    look();
  }
}

/** Fill columns of a question at the same time, until all are done or the user stops them. */
async function fillColumns(asked, columns, signal) {
  const streams = columns.map((column) => {
    const reply = asked.replies[column];
    if (session.current === asked) answers.show(reply);
    let wasDecided = false;
    return fill(reply, signal, () => {
      if (session.current === asked) answers.show(reply);
      if (column === "auto" && reply.decision && !wasDecided) {
        wasDecided = true;
        showSession();
      }
    });
  });
  await Promise.all(streams);
}

function showRunning() {
  const [shown, hidden] = state.running ? [$("#stop"), $("#send")] : [$("#send"), $("#stop")];
  shown.hidden = false;
  hide(hidden, shown);
}

function showAsked({ replies }) {
  for (const column of COLUMNS) answers.show(replies[column]);
  showSession();
}

function showSession() {
  session.draw();
  dial.show(session.probability(), session.dots(), session.current !== null);
}

function stop() {
  state.running?.abort();
}

/** Esc stops, unless it ends something else where it was pressed. */
function stopByKey(event) {
  if (event.key !== "Escape" || isComposing(event)) return;
  if ($("dialog[open]") || event.target === $("#persona-search")) return;
  stop();
}

// The dial

function setThreshold(threshold) {
  state.threshold = threshold;
  showThreshold();
}

function showThreshold() {
  const bound = state.threshold ?? state.ownThreshold;
  dial.set(bound);
  session.threshold = bound;
  showSession();
  const whose = state.threshold === null ? "the model's own" : "yours";
  $("#threshold-said").textContent = `Threshold ${bound} · ${whose}`;
  if (state.threshold === null) hide($("#threshold-reset"), dial.handle);
  else $("#threshold-reset").hidden = false;
}

// Persona, options, colours, key

function setPersona(id) {
  state.personaId = id;
  $("#asked-for").textContent = id ? `For ${id}` : "For nobody in particular";
}

function showOptions() {
  const { isolation, temperature, maxTokens } = question();
  $("#options-said").textContent = `· ${isolation || "isolation as deployed"} · temperature ${temperature} · ${maxTokens} tokens`;
}

/** Where there is little room the personas fold, and their heading is the button for it. */
function foldRail() {
  $("#rail").open = !narrow.matches;
  $("#rail > summary").tabIndex = narrow.matches ? 0 : -1;
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  local.set("personadual.theme", theme);
  $("#theme").setAttribute("aria-pressed", isDark());
}

function askForKey(reason, wasRefused) {
  const dialog = $("#key");
  $("#key-value").value = "";
  say($(".note", dialog), reason, wasRefused);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "used"), { once: true });
  });
}

/** The model's name and threshold, as they are now: a service may come back with others. */
async function findModel(options) {
  try {
    const [{ id, threshold }] = (await json("/v1/models", options)).data;
    if (id === state.model && threshold === state.ownThreshold) return;
    state.model = id;
    state.ownThreshold = threshold;
    showThreshold();
    look();
  } catch {
    // The answers say what is wrong, in the place where it is looked for.
  }
}

const look = whileSeen(() => Promise.all([shares.look(), showHealth(state.model)]));
const lookAtModel = whileSeen(() => findModel({ isQuiet: true }), MODEL_EVERY_MS);

function listen() {
  $("#ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("#question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    $("#ask").requestSubmit();
  });
  document.addEventListener("keydown", stopByKey);
  $("#stop").addEventListener("click", stop);
  $("#tries").addEventListener("click", (event) => {
    if (!event.target.matches(".try")) return;
    $("#question").value = event.target.textContent;
    $("#ask").requestSubmit();
  });
  $("#ask .options").addEventListener("input", showOptions);
  // The browser can say what is wrong only where it is seen; the event does not bubble.
  $("#ask .options").addEventListener("invalid", () => { $("#ask .options").open = true; }, true);
  narrow.addEventListener("change", foldRail);
  $("#threshold-reset").addEventListener("click", () => setThreshold(null));
  $("#theme").addEventListener("click", toggleTheme);
  $("#import").addEventListener("click", () => $("#import-file").click());
  $("#import-file").addEventListener("change", async ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) await importFile(file);
    await personas.refresh();
  });
  $("#export").addEventListener("click", exportFile);
  $("#key-forget").addEventListener("click", () => { key.forget(); location.reload(); });
}

onKeyWanted(askForKey);
onSubmit($("#key"), () => {
  key.set($("#key-value").value.trim());
  $("#key").returnValue = "used";
  $("#key-forget").hidden = false;
  lookAtModel();
});
listen();
foldRail();
$("#key-forget").hidden = key.get() === null;
$("#theme").setAttribute("aria-pressed", isDark());
showOptions();
showThreshold();
personas.load();
$("#question").focus();
