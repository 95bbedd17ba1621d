// The proof page: verifies what the server proves with a key that the reader has brought, and draws the way to the root.
import {
  openCheckpoint, parseKey, Refusal, requireCryptography, requirePlace, toHex, Unable, verifyConsistency, verifyEvent,
} from "./proof.js";

const PINNED = "order-ledger verifier key";
const input = document.getElementById("key");
const keyState = document.getElementById("key-state");
const NO_KEY = keyState.textContent;
const events = document.getElementById("events");
// As it stands in the address, and not as the page says: the order, or the position, that was asked for.
const asked = new URLSearchParams(location.search);
const order = /^\s*([1-9][0-9]*)\s*$/.exec(asked.get("order") ?? "")?.[1];
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

// The server gave no answer to go on with.
class Unanswered extends Error {}

function inWords(error, refused) {
  if (error instanceof Unable) return `This browser can't verify here: ${error.message}.`;
  if (error instanceof Unanswered) return `Not fetched: ${error.message}.`;
  if (error instanceof Refusal) return `${refused}: ${error.message}.`;
  return `Nothing is shown, for an error that nobody expected: ${error}`;
}

// `missing` says what a 404 means.
async function fetched(address, missing) {
  const options = { headers: { Accept: "application/json" }, redirect: "manual" };
  const answer = await fetch(address, options).catch(() => { throw new Unanswered("the server can't be reached"); });
  // To the sign-in.
  if (answer.type === "opaqueredirect") throw new Unanswered("your session has ended; load the page again to sign in");
  if (answer.status === 404) throw new Unanswered(missing);
  if (!answer.ok) throw new Unanswered(`the server answered ${answer.status}`);
  return answer.json();
}

function judge(article, verdict, className = "") {
  article.classList.remove("good", "bad");
  if (className) article.classList.add(className);
  article.querySelector(".claimed").hidden = className === "good";  // then the event itself has said where it stands
  article.querySelector(".verdict").textContent = verdict;
}

function say(article, text, className = "") {
  const item = document.createElement("li");
  item.textContent = text;
  item.className = className;
  article.querySelector(".steps").append(item);
}

function refuse(article, error) {
  article.querySelector(".way").hidden = true;
  say(article, inWords(error, "Not proven"), "bad");
  judge(article, "not proven", "bad");
}

// `version` is the one that belongs here, among the events of an order.
async function verify(article, proven, version, key) {
  const told = (text) => say(article, text);
  const { event, leaf, steps, checkpoint } =
    await verifyEvent(proven.leaf, Number(article.dataset.position), proven.proof, key, told);
  if (order) requirePlace(event, `order-${order}`, version);
  draw(article.querySelector(".path"), leaf, steps);
  const { stream, type, position } = event;
  judge(article, `Version ${event.version} of ${stream}, ${type}, at position ${position}: verified`, "good");
  return checkpoint.size;
}

async function verifyEach(proofs, key) {
  let covered = 0;  // by a checkpoint that the key has signed
  const unsigned = [];
  for (const article of events.querySelectorAll("article")) {
    const at = proofs.findIndex((proven) => String(proven.position) === article.dataset.position);
    if (at >= 0) article.querySelector(".leaf").textContent = proofs[at].leaf;
    try {
      if (at < 0) throw new Refusal("the server gives no proof of this event");
      if (!proofs[at].proof) unsigned.push(article);
      else covered = Math.max(covered, await verify(article, proofs[at], at + 1, key));
    } catch (error) {
      refuse(article, error);
    }
  }
  for (const article of unsigned) {
    if (Number(article.dataset.position) > covered) judge(article, "not in a signed checkpoint yet");
    else refuse(article, new Refusal(`a checkpoint of ${covered} events has it, and the server gives no proof`));
  }
}

// What another key has verified says nothing about this one.
function forget(article) {
  judge(article, "not verified yet");
  article.querySelector(".steps").replaceChildren();
  article.querySelector(".way").hidden = true;
}

async function verifyAll() {
  events.querySelectorAll("article").forEach(forget);
  keyState.className = "faint";
  try {
    await requireCryptography();
    if (!input.value) {
      keyState.textContent = NO_KEY;
      return;
    }
    const key = await parseKey(input.value);
    localStorage.setItem(PINNED, input.value.trim());
    keyState.textContent = `The key of ${key.name}, with the id ${toHex(key.id)}.`;
    if (!events.querySelector("article")) return;
    await verifyEach(await fetched(events.dataset.source, "there is no such order or position"), key);
  } catch (error) {
    keyState.textContent = inWords(error, "Not a key that can be used");
    keyState.className = "said bad";
  }
}

async function opened(which, text, key) {
  return openCheckpoint(text, key).catch((error) => {
    throw error instanceof Refusal ? new Refusal(`of the ${which} one: ${error.message}`) : error;
  });
}

async function compare(button, said) {
  const texts = ["older", "newer"].map((id) => `${document.getElementById(id).value.replaceAll("\r", "").trim()}\n`);
  said.className = "said";
  try {
    await requireCryptography();
    if (!input.value) throw new Refusal("bring the log's key first");
    const key = await parseKey(input.value);
    const older = await opened("earlier", texts[0], key), newer = await opened("later", texts[1], key);
    let hashes = [];
    if (older.size !== newer.size && older.size > 0) {
      const missing = "the log gives no proof between these sizes: it is not as long, or they are the wrong way round";
      const answer = await fetched(`${button.dataset.source}?from=${older.size}&to=${newer.size}`, missing);
      hashes = answer.hashes.map(decode);
    }
    await verifyConsistency(older, newer, hashes);
    said.textContent = older.size === newer.size ? "The same log at the same size." :
      `Consistent: the log of ${newer.size} events begins with that of ${older.size}.`;
    said.classList.add("good");
  } catch (error) {
    said.textContent = inWords(error, "Not shown");
    said.classList.add("bad");
  }
}

input.value ||= localStorage.getItem(PINNED) || "";  // unless somebody was faster than this script
let turn = Promise.resolve();
const verifyInTurn = () => { turn = turn.then(verifyAll); };  // a key may change while another is at work
input.addEventListener("change", verifyInTurn);
input.addEventListener("paste", () => setTimeout(verifyInTurn));  // a change is told only when the field is left
const button = document.getElementById("compare");
button.addEventListener("click", () => compare(button, document.getElementById("compared")));
verifyInTurn();
