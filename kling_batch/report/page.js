"use strict";

// What the page remembers, finds, sorts and plays. Nothing here is sent anywhere.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const sheet = $("sheet");
const rows = [...sheet.children];
const takesOf = new Map(rows.map((row) => [row, [...row.querySelectorAll(".take")]]));
const takes = [...takesOf.values()].flat();
document.documentElement.classList.add("js");

function kept(storage, key) {
  try {
    return JSON.parse(storage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}

function keep(storage, key, value) {
  try {
    storage.setItem(key, JSON.stringify(value));
  } catch {
    // The browser keeps nothing for this page: it lives as long as the tab.
  }
}

// -- decisions: the manifest's, and on top of them this browser's ---------------------------------

const DECISIONS = `kling-batch decisions ${data.key}`;
const decisions = kept(localStorage, DECISIONS); // id → [word, the job it was said of]

function choiceOf(take) {
  const said = decisions[take.dataset.id];
  // A word said of an earlier video says nothing of the one that took its place.
  if (said && said[1] === take.dataset.job) return said[0];
  return Object.hasOwn(data.decisions, take.dataset.id) ? data.decisions[take.dataset.id] : "";
}

function decide(take, word) {
  const next = choiceOf(take) === word ? "" : word;
  decisions[take.dataset.id] = [next, take.dataset.job];
  keep(localStorage, DECISIONS, decisions);
  showChoice(take);
  showDecided();
}

function addChoice(take) {
  const group = $("choose").content.firstElementChild.cloneNode(true);
  group.setAttribute("aria-label", `Decide on ${take.ariaLabel}`);
  const words = take.dataset.words.split(" ");
  for (const button of [...group.children]) {
    if (!words.includes(button.dataset.word)) button.remove();
  }
  take.querySelector(".line").after(group);
  showChoice(take);
}

function showChoice(take) {
  const word = choiceOf(take);
  take.dataset.choice = word;
  for (const button of take.querySelectorAll("[data-word]")) {
    button.setAttribute("aria-pressed", String(button.dataset.word === word));
  }
}

function decided() {
  const here = takes.map((take) => [take.dataset.id, choiceOf(take)]).filter(([, word]) => word);
  const known = new Set(takes.map((take) => take.dataset.id));
  const elsewhere = Object.entries(data.decisions).filter(([id]) => !known.has(id));
  return [...here, ...elsewhere];
}

function showDecided() {
  const count = decided().length;
  $("decided").textContent = count;
  $("decided").classList.toggle("some", count > 0);
}

const PLAIN = /^[A-Za-z][A-Za-z0-9._-]*$/;
const READ_OTHERWISE = /^(y|yes|n|no|true|false|on|off|null|nan|inf)$/i;
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff]/g;

function yamlKey(id) {
  if (PLAIN.test(id) && !READ_OTHERWISE.test(id)) return id;
  const escaped = id.replace(/["\\]/g, "\\$&");
  const hex = (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `"${escaped.replace(CONTROL, hex)}"`;
}

function yaml() {
  const lines = decided().map(([id, word]) => `  ${yamlKey(id)}: ${word}`);
  return lines.length ? `decisions:\n${lines.join("\n")}\n` : "decisions: {}\n";
}

async function copyDecisions() {
  const text = yaml();
  $("yaml").value = text;
  $("copied-note").textContent = "";
  $("copied").showModal();
  $("yaml").select();
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    done = document.execCommand("copy");
  }
  $("copied-note").textContent = done ? "Copied to the clipboard." : "Copy it from here.";
}

// -- which takes are shown, and in which order ----------------------------------------------------

const VIEW = `kling-batch view ${data.key}`;
const NUMBERS = {
  cost: ["cost", -1],
  "cost-up": ["cost", 1],
  time: ["time", -1],
  "time-up": ["time", 1],
  seconds: ["seconds", -1],
};
const texts = new Map();
let sortedBy = "order";

function textOf(element) {
  if (!texts.has(element)) {
    const own = [...element.querySelectorAll(".find")].filter(
      (one) => element.matches(".take") || !one.closest(".take"),
    );
    texts.set(element, own.map((one) => one.textContent).join("\n").toLowerCase());
  }
  return texts.get(element);
}

function chosenStates() {
  const pressed = document.querySelectorAll('.chip[aria-pressed="true"]');
  return new Set([...pressed].map((chip) => chip.dataset.state));
}

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const states = chosenStates();
  const choice = $("choice").value;
  let shown = 0;
  for (const row of rows) {
    let some = false;
    for (const take of takesOf.get(row)) {
      const matches =
        (!states.size || states.has(take.dataset.state)) &&
        (!choice || choice === (take.dataset.choice || "none")) &&
        words.every((word) => textOf(row).includes(word) || textOf(take).includes(word));
      if (take.hidden === matches) take.hidden = !matches;
      if (matches) shown += 1;
      some ||= matches;
    }
    if (row.hidden === some) row.hidden = !some;
  }
  const all = takes.length;
  $("count").textContent = shown === all ? `${all} jobs` : `${shown} of ${all} jobs`;
  $("empty").hidden = shown > 0;
  remember();
}

function sort() {
  const by = $("sort").value;
  if (by !== sortedBy) {
    sortedBy = by;
    const sorted = [...rows];
    const [field, sign] = NUMBERS[by] ?? [];
    if (field) sorted.sort((a, b) => sign * (a.dataset[field] - b.dataset[field]));
    if (by === "name") {
      const { compare } = new Intl.Collator("en", { numeric: true });
      const names = new Map(rows.map((row) => [row, row.querySelector("h2").textContent]));
      sorted.sort((a, b) => compare(names.get(a), names.get(b)));
    }
    sheet.replaceChildren(...sorted);
  }
  remember();
}

function remember() {
  keep(sessionStorage, VIEW, {
    search: $("search").value,
    states: [...chosenStates()],
    choice: $("choice").value,
    sort: $("sort").value,
    follow: $("follow")?.checked ?? false,
  });
}

function recall() {
  const view = kept(sessionStorage, VIEW);
  $("search").value = view.search ?? "";
  $("choice").value = view.choice ?? "";
  $("sort").value = view.sort ?? "order";
  for (const chip of document.querySelectorAll(".chip")) {
    chip.setAttribute("aria-pressed", String((view.states ?? []).includes(chip.dataset.state)));
  }
  if ($("follow")) $("follow").checked = view.follow ?? false;
}

function showAll() {
  $("search").value = "";
  $("choice").value = "";
  for (const chip of document.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", "false");
  filter();
}

// -- media: loaded near the window, given back far from it ----------------------------------------

const hovers = matchMedia("(hover: hover)").matches;
let playing = null;

function wake(row) {
  for (const link of row.querySelectorAll("a.media")) {
    const view = link.parentElement;
    if (view.matches(".missing") || view.querySelector("img, video")) continue;
    view.append(link.matches(".image") ? image(link) : video(link));
  }
  for (const take of takesOf.get(row)) {
    if (take.dataset.words && !take.querySelector(".choose")) addChoice(take);
  }
}

function image(link) {
  const made = new Image();
  made.alt = `Character image ${link.firstChild.textContent}`;
  made.decoding = "async";
  made.referrerPolicy = "no-referrer";
  made.src = link.href;
  return made;
}

function video(link) {
  const made = document.createElement("video");
  Object.assign(made, { preload: "metadata", muted: true, loop: true, playsInline: true });
  made.controls = !hovers;
  made.tabIndex = 0;
  made.setAttribute("aria-label", link.ariaLabel ?? `Motion clip ${link.firstChild.textContent}`);
  made.src = link.href;
  return made;
}

function rest(row) {
  for (const video of row.querySelectorAll("video")) {
    if (!video.paused) continue;
    video.parentElement.classList.remove("loaded");
    video.removeAttribute("src");
    video.load();
    video.remove();
  }
}

const near = new IntersectionObserver(
  (entries) => entries.forEach((one) => (one.isIntersecting ? wake : rest)(one.target)),
  { rootMargin: "400px 0px" },
);

function ready(video) {
  if (video.readyState >= 3) return Promise.resolve();
  return new Promise((done) => {
    for (const name of ["canplay", "error"]) video.addEventListener(name, done, { once: true });
  });
}

async function play(row) {
  stop();
  playing = row;
  row.querySelector(".play").setAttribute("aria-pressed", "true");
  wake(row);
  const videos = [...row.querySelectorAll(".view:not(.missing) video")].filter(
    (video) => !video.closest("[hidden]"),
  );
  for (const video of videos) {
    video.preload = "auto";
    video.currentTime = 0;
  }
  // Together, or after two seconds those that have come.
  const patience = new Promise((done) => setTimeout(done, 2000));
  await Promise.race([Promise.all(videos.map(ready)), patience]);
  if (playing === row) for (const video of videos) video.play().catch(() => {});
}

function stop() {
  if (!playing) return;
  playing.querySelector(".play").setAttribute("aria-pressed", "false");
  for (const video of playing.querySelectorAll("video")) video.pause();
  playing = null;
}

function toggle(row) {
  if (playing === row) stop();
  else play(row);
}

function missing(media) {
  media.closest(".view")?.classList.add("missing");
}

function come(media) {
  media.closest(".view")?.classList.add("loaded");
  if (media.closest(".take")) takeShape(media);
}

// The first result shapes every frame: a batch is rarely both wide and tall.
function takeShape(video) {
  const root = document.documentElement;
  if (root.dataset.shape || !video.videoHeight) return;
  const ratio = video.videoWidth / video.videoHeight;
  root.dataset.shape = ratio > 1.2 ? "wide" : ratio < 0.85 ? "tall" : "square";
}

// Controls only where the pointer or the focus is: sixty bars at once hide the pictures.
function controls(event, wanted) {
  const video = event.target.closest?.(".view")?.querySelector("video");
  if (video && hovers) video.controls = wanted || video === document.activeElement;
}

// -- keys -----------------------------------------------------------------------------------------

let current = null;

function move(down, right) {
  const seen = [...sheet.children].filter((row) => !row.hidden);
  if (!seen.length) return;
  const row = current?.closest(".row");
  const at = seen.indexOf(row);
  const target = seen[Math.min(Math.max(at + down, 0), seen.length - 1)];
  const there = takesOf.get(target).filter((take) => !take.hidden);
  const column = Math.max(there.indexOf(current), 0) + right;
  current = there[Math.min(Math.max(column, 0), there.length - 1)];
  current.focus({ preventScroll: true, focusVisible: true });
  target.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": () => $("search").select(),
  j: () => move(1, 0),
  k: () => move(-1, 0),
  ArrowDown: () => move(1, 0),
  ArrowUp: () => move(-1, 0),
  ArrowLeft: () => move(0, -1),
  ArrowRight: () => move(0, 1),
  " ": () => current && toggle(current.closest(".row")),
  p: () => choose("pick"),
  x: () => choose("reject"),
  r: () => choose("redo"),
  c: copyDecisions,
  "?": () => $("keys").showModal(),
  Escape: showAll,
};

function dialogOpen() {
  return document.querySelector("dialog[open]") !== null;
}

// What has a use of its own for a key keeps it.
const OWN = { " ": "button, summary, a, video", ArrowLeft: "video", ArrowRight: "video" };

function choose(word) {
  if (current?.dataset.words?.split(" ").includes(word)) decide(current, word);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialogOpen()) return;
  const typing = event.target.closest("input, select, textarea");
  if (typing && event.key === "Escape") typing.blur();
  if (typing || (OWN[event.key] && event.target.closest(OWN[event.key]))) return;
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

function unfold(wanted) {
  for (const details of document.querySelectorAll("details")) details.open = wanted;
}

// -- what is clicked ------------------------------------------------------------------------------

sheet.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches(".play")) toggle(button.closest(".row"));
  if (button?.dataset.word) decide(button.closest(".take"), button.dataset.word);
  if (event.target.matches(".prompt")) event.target.classList.toggle("whole");
});
sheet.addEventListener("focusin", (event) => {
  current = event.target.closest(".take") ?? current;
  controls(event, true);
});
sheet.addEventListener("focusout", (event) => controls(event, false));
sheet.addEventListener("pointerover", (event) => controls(event, true));
sheet.addEventListener("pointerout", (event) => controls(event, false));
sheet.addEventListener("load", (event) => come(event.target), true);
sheet.addEventListener("loadedmetadata", (event) => come(event.target), true);
sheet.addEventListener("error", (event) => missing(event.target), true);

for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
    filter();
  });
}
for (const close of document.querySelectorAll("[data-close]")) {
  close.addEventListener("click", () => close.closest("dialog").close());
}
$("search").addEventListener("input", filter);
$("choice").addEventListener("change", filter);
$("sort").addEventListener("change", sort);
$("clear").addEventListener("click", showAll);
$("copy").addEventListener("click", copyDecisions);
$("help").addEventListener("click", () => $("keys").showModal());
$("follow")?.addEventListener("change", remember);
addEventListener("beforeprint", () => unfold(true));
addEventListener("afterprint", () => unfold(false));
setInterval(() => {
  if ($("follow")?.checked && !playing && !dialogOpen()) location.reload();
}, 10000);

// -- the beginning --------------------------------------------------------------------------------

if (innerWidth < 560) $("charts").open = false;
takes.forEach(showChoice);
recall();
showDecided();
filter();
sort();
rows.forEach((row) => near.observe(row));
