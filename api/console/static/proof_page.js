// The proof page: verifies what the server proves with a key that the reader has brought, and draws the way to the root.
import { openCheckpoint, parseKey, Refusal, toHex, verifyConsistency, verifyEvent } from "./proof.js";

const PINNED = "order-ledger verifier key";
const input = document.getElementById("key");
const keyState = document.getElementById("key-state");
const events = document.getElementById("events");
const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  if (text) element.textContent = text;
  return element;
}

// From the event at the bottom to the root at the top; what it was hashed with stands beside it, left or right.
function draw(figure, leaf, steps) {
  const ROW = 44, BOX = 190, height = (steps.length + 1) * ROW + 8;
  const svg = drawn("svg", { viewBox: `0 0 620 ${height}`, role: "img" });
  svg.append(drawn("title", {}, "The way from the event to the signed root"));
  const box = (x, y, hash, what, ours) => svg.append(
    drawn("rect", { x, y, width: BOX, height: 30, rx: 5, class: ours ? "ours" : "" }),
    drawn("text", { x: x + 8, y: y + 19 }, `${what} ${toHex(hash).slice(0, 14)}\u2026`));
  steps.forEach(({ sibling, left, node }, number) => {
    const y = height - (number + 1) * ROW;
    const x = left ? 5 : 425;
    svg.append(drawn("line", { x1: 310, y1: y, x2: 310, y2: y - 14 }),
      drawn("line", { x1: x + BOX / 2, y1: y, x2: 310, y2: y - 14 }));
    box(x, y, sibling, "with", false);
    box(215, y - ROW, node, number === steps.length - 1 ? "root" : "node", true);
  });
  box(215, height - ROW, leaf, steps.length ? "event" : "event, root", true);
  figure.replaceChildren(svg);
  figure.parentElement.hidden = false;
}

async function verify(article, proven, key) {
  const steps = article.querySelector(".steps");
  const verdict = article.querySelector(".verdict");
  steps.replaceChildren();
  article.classList.remove("good", "bad");
  const say = (text, className = "") => {
    const item = document.createElement("li");
    item.textContent = text;
    item.className = className;
    steps.append(item);
  };
  article.querySelector(".leaf").textContent = proven.leaf;
  if (!proven.proof) {
    verdict.textContent = "not in a signed checkpoint yet";
    return;
  }
  try {
    const { leaf, steps: path } = await verifyEvent(proven.leaf, proven.position, proven.proof, key, say);
    draw(article.querySelector(".path"), leaf, path);
    verdict.textContent = "verified";
    article.classList.add("good");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    article.querySelector(".way").hidden = true;
    say(`Not proven: ${error.message}.`, "bad");
    verdict.textContent = "not proven";
    article.classList.add("bad");
  }
}

// What another key has verified says nothing about this one.
function forget(article) {
  article.classList.remove("good", "bad");
  article.querySelector(".verdict").textContent = "not verified yet";
  article.querySelector(".steps").replaceChildren();
  article.querySelector(".way").hidden = true;
}

async function verifyAll() {
  events.querySelectorAll("article").forEach(forget);
  let key;
  try {
    key = await parseKey(input.value);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    keyState.textContent = input.value ? `Not a key that can be used: ${error.message}.` : "No key yet.";
    return;
  }
  localStorage.setItem(PINNED, input.value.trim());
  keyState.textContent = `The key of ${key.name}.`;
  if (!events.querySelector("article")) return;
  const answer = await fetch(events.dataset.source, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) {
    keyState.textContent = `The proofs can't be fetched: ${answer?.status ?? "the server can't be reached"}.`;
    return;
  }
  const proofs = new Map((await answer.json()).map((proven) => [String(proven.position), proven]));
  for (const article of events.querySelectorAll("article")) {
    const proven = proofs.get(article.dataset.position);
    if (proven) await verify(article, proven, key);
  }
}

async function compare(button, said) {
  const texts = ["older", "newer"].map((id) => `${document.getElementById(id).value.replaceAll("\r", "").trim()}\n`);
  said.className = "said";
  try {
    const key = await parseKey(input.value);
    const [older, newer] = [await openCheckpoint(texts[0], key), await openCheckpoint(texts[1], key)];
    let hashes = [];
    if (older.size !== newer.size && older.size > 0) {
      const answer = await fetch(`${button.dataset.source}?from=${older.size}&to=${newer.size}`);
      if (!answer.ok) throw new Refusal("the log gives no proof between these sizes: it is not as long, or they are the wrong way round");
      hashes = (await answer.json()).hashes.map(decode);
    }
    await verifyConsistency(older, newer, hashes);
    said.textContent = older.size === newer.size ? "The same log at the same size." :
      `Consistent: the log of ${newer.size} events begins with that of ${older.size}.`;
    said.classList.add("good");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    said.textContent = `Not shown: ${error.message}.`;
    said.classList.add("bad");
  }
}

input.value ||= localStorage.getItem(PINNED) || "";  // unless somebody was faster than this script
let turn = Promise.resolve();
const verifyInTurn = () => { turn = turn.then(verifyAll, verifyAll); };  // a key may change while another is at work
input.addEventListener("change", verifyInTurn);
input.addEventListener("paste", () => setTimeout(verifyInTurn));  // a change is told only when the field is left
const button = document.getElementById("compare");
button.addEventListener("click", () => compare(button, document.getElementById("compared")));
verifyInTurn();
