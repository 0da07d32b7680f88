"use strict";
// Asks the server what the network makes of an image, and shows it.

const at = (id) => document.getElementById(id);
const show = (id, shown) => { at(id).hidden = !shown; };

/** An element with classes, text and children. */
function make(name, classes, ...inside) {
  const element = document.createElement(name);
  if (classes) element.className = classes;
  element.append(...inside);
  return element;
}

const grouped = (n) => n.toLocaleString("en");
const rounded = (x) => Number(x.toPrecision(3)).toString();

let about = null;   // what the server said of itself
let image = null;   // the file in hand: { blob, name, truth }
let asking = null;  // the request under way

// --- The server ---------------------------------------------------------------------------------

async function ask(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; was it stopped?");
  }
  const said = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(said.error);
  return said;
}

const sentence = (text) => text + (/[.?!]$/.test(text) ? "" : ".");

function complain(error) {
  if (error.name === "AbortError") return;
  at("error").textContent = sentence(error.message);
  show("error", true);
}

async function look(blob, name, truth) {
  asking?.abort();
  asking = new AbortController();
  const signal = asking.signal;
  show("error", false);
  show("busy", true);
  at("result").classList.add("old");
  try {
    blob = await readable(blob);
    if (signal.aborted) return;
    if (about && blob.size > about.limits.bytes) {
      throw new Error(`the file is larger than ${about.limits.bytes >> 20} MiB`);
    }
    const began = performance.now();
    const address = "/predict?top=5&neighbours=6&maps=yes&pictures=yes";
    const said = await ask(address, { method: "POST", body: blob, signal });
    image = { blob, name, truth };
    present(said, Math.round(performance.now() - began));
    at("result").classList.remove("old");
    show("result", true);
  } catch (error) {
    if (error.name === "AbortError") return; // another image took its place
    complain(new Error(`${name}: ${error.message}`));
    show("result", false);
  }
  show("busy", false);
}

/** What the server reads, as it is; of other kinds, if the browser can read them, their pixels. */
const SERVED = ["jpeg", "png", "gif", "bmp", "webp", "tiff"].map((kind) => `image/${kind}`);
async function readable(blob) {
  if (SERVED.includes(blob.type) || !blob.type.startsWith("image/")) return blob;
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    return blob; // the server says what is wrong
  }
  const canvas = make("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return await new Promise((done) => canvas.toBlob((png) => done(png ?? blob), "image/png"));
}

// --- What it said -------------------------------------------------------------------------------

function picture(address, alt, width) {
  const element = make("img");
  element.alt = alt;
  element.src = address;
  // A small image is shown pixel by pixel, not blurred.
  element.decode().then(() => element.classList.toggle("pixels", element.naturalWidth < width), () => {});
  return element;
}

function present(said, milliseconds) {
  const seen = picture(said.image.seen, "What the network sees", 200);
  seen.id = "seen";
  at("seen").replaceWith(seen);
  at("name").textContent = image.name;
  const [height, width] = about?.input ?? [seen.height, seen.width];
  at("size").textContent =
    `${said.image.width} × ${said.image.height} ${said.image.format}, seen as ${width} × ${height}`;
  at("took").textContent = `Answered in ${milliseconds} ms.`;
  at("bars").replaceChildren(...said.top.map(({ class: name, probability }) => {
    const percent = `${(100 * probability).toFixed(1)} %`;
    const bar = make("li", name === image.truth ? "true" : "", make("span", "", title(name)), make("span", "", percent));
    bar.style.setProperty("--p", `${100 * probability}%`);
    return bar;
  }));
  if (image.truth !== null) {
    at("took").textContent += " The bar of the image's own class, if it is among them, is blue and outlined.";
  }
  presentNeighbours(said.neighbours);
  at("grids").replaceChildren(...said.maps.map(grid));
  show("maps", said.maps.length > 0);
  presentClasses(said.top);
}

// --- Explanations -------------------------------------------------------------------------------

/** The classes that can be explained: the most probable ones. */
function presentClasses(classes) {
  show("explanations", about?.explanations?.length > 0);
  at("explained").replaceChildren();
  at("class").replaceChildren(...classes.map(({ class: name }) => {
    const option = make("option", "", title(name));
    option.value = name;
    return option;
  }));
}

async function explain() {
  if (image === null) return;
  const { blob } = image;
  show("error", false);
  show("explaining", true);
  at("explain").disabled = true;
  try {
    const address = `/predict?top=0&explain=yes&class=${encodeURIComponent(at("class").value)}`;
    const said = await ask(address, { method: "POST", body: blob });
    if (image.blob === blob) presentExplanations(said.explained);
  } catch (error) {
    complain(error);
  }
  show("explaining", false);
  at("explain").disabled = false;
}

at("explain").addEventListener("click", explain);

function presentExplanations(said) {
  const of = `${title(said.class)}, ${(100 * said.probability).toFixed(1)} %`;
  at("explained").replaceChildren(...said.pictures.map(({ method, title: name, picture: address }) => {
    const caption = method === "grad-cam" ? `${name} of ${said.layer}` : name;
    const drawn = picture(address, `${name}: ${of}`, 200);
    return make("figure", "", drawn, make("figcaption", "", caption));
  }));
}

/** What a class is called for people. */
function title(id) {
  return about?.titles?.[about.classes.indexOf(id)] ?? id;
}

function presentNeighbours(said) {
  const far = Math.max(...said.nearest.map((near) => near.distance));
  at("near").replaceChildren(...said.nearest.map((near) => {
    const caption = make("figcaption", near.class === image.truth ? "true" : "", title(near.class), " ");
    caption.append(make("span", "soft", far < 1 ? rounded(near.distance) : near.distance.toFixed(1)));
    const figure = make("figure", "", picture(near.picture ?? "data:,", `Training image: ${title(near.class)}`, 129), caption);
    figure.title = near.name;
    return figure;
  }));
  at("neighbours").dataset.state = said.state;
  presentStanding(said);
}

/** How far the vectors of the training images are. */
function presentStanding(standing) {
  const { state, done, of, why } = standing;
  const distance = "by Euclidean distance in the last layer before the classifier";
  at("among").textContent = {
    off: "Not looked for: the server was started with --among 0.",
    opening: "The training images are being opened …",
    making: `Among ${grouped(done)} of ${grouped(of)} training images so far, ${distance}.`,
    ready: `Among ${grouped(of)} training images, ${distance}.`,
    failed: `They cannot be found: ${why}.`,
  }[state];
  show("progress", state === "opening" || state === "making");
  if (of > 0) [at("progress").max, at("progress").value] = [of, done];
}

// --- Feature maps -------------------------------------------------------------------------------

const sizeOf = (layer) => `${grouped(layer.channels)} maps of ${layer.width} × ${layer.height}`;

function grid(layer) {
  const drawn = picture(layer.picture, `${layer.layer}: ${sizeOf(layer)}`, Infinity);
  const button = make("button", "", drawn);
  button.type = "button";
  button.addEventListener("click", () => enlarge(layer, drawn, null));
  return make("figure", "", button, make("figcaption", "", make("strong", "", layer.layer), ` · ${sizeOf(layer)}`));
}

let large = null; // { layer, drawn, map }: `map` is null for all of them

function enlarge(layer, drawn, map) {
  large = { layer, drawn, map };
  const { width, height, columns, gap } = layer;
  const whole = map === null;
  const [w, h] = whole ? [drawn.naturalWidth, drawn.naturalHeight] : [width, height];
  const canvas = at("canvas");
  [canvas.width, canvas.height] = [w, h];
  canvas.className = whole ? "all" : "";
  const left = whole ? 0 : gap + (map % columns) * (width + gap);
  const top = whole ? 0 : gap + Math.floor(map / columns) * (height + gap);
  canvas.getContext("2d").drawImage(drawn, left, top, w, h, 0, 0, w, h);
  at("large-title").textContent =
    whole ? `${layer.layer}: ${sizeOf(layer)}` : `${layer.layer}, map ${map + 1} of ${layer.channels}`;
  at("large-note").textContent =
    whole ? "Click a map to see it alone." : `${width} × ${height}, strongest response ${rounded(layer.largest[map])}. ` +
      "White is the strongest of the whole layer.";
  ["before", "after", "all"].forEach((id) => show(id, !whole));
  show("beside", !whole);
  at("beside").src = at("seen").src;
  at("beside").className = at("seen").naturalWidth < 200 ? "" : "smooth";
  if (!at("large").open) at("large").showModal();
  fit();
}

/** As large as the window allows: beside the image, or below it where the window is narrow. */
function fit() {
  if (large === null || !at("large").open) return;
  const canvas = at("canvas");
  const [room, tall] = [0.96 * innerWidth - 48, 0.96 * innerHeight - 150];
  const two = large.map !== null;
  const beside = two && room > tall;
  const wide = two ? (beside ? (room - 12) / 2 : Math.min(room, (tall - 12) / 2)) : room;
  const high = two && !beside ? (tall - 12) / 2 : tall;
  const scale = Math.min(wide / canvas.width, high / canvas.height);
  for (const pane of [canvas, at("beside")]) {
    pane.style.width = `${Math.floor(canvas.width * scale)}px`;
    pane.style.height = `${Math.floor(canvas.height * scale)}px`;
  }
}

function step(by) {
  if (large === null || large.map === null) return;
  const { layer, drawn, map } = large;
  enlarge(layer, drawn, (map + by + layer.channels) % layer.channels);
}

at("canvas").addEventListener("click", (event) => {
  const { layer, drawn, map } = large;
  if (map !== null) return enlarge(layer, drawn, null);
  const box = at("canvas").getBoundingClientRect();
  const x = (event.clientX - box.left) * drawn.naturalWidth / box.width;
  const y = (event.clientY - box.top) * drawn.naturalHeight / box.height;
  const column = Math.min(layer.columns - 1, Math.floor(x / (layer.width + layer.gap)));
  const clicked = Math.floor(y / (layer.height + layer.gap)) * layer.columns + column;
  if (clicked < layer.channels) enlarge(layer, drawn, clicked);
});
at("before").addEventListener("click", () => step(-1));
at("after").addEventListener("click", () => step(1));
at("all").addEventListener("click", () => enlarge(large.layer, large.drawn, null));
at("close").addEventListener("click", () => at("large").close());
at("large").addEventListener("click", (event) => { if (event.target === at("large")) at("large").close(); });
at("large").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
addEventListener("resize", fit);

// --- Images in ----------------------------------------------------------------------------------

function take(files) {
  if (files.length === 0) return;
  history.replaceState(null, "", location.pathname);
  look(files[0], files[0].name || "pasted image", null);
}

at("choose").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", () => { take(at("file").files); at("file").value = ""; });
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length > 0) return take(event.dataTransfer.files);
  complain(new Error("That was no file. Save the image first, or copy it and paste it here."));
});
addEventListener("paste", (event) => take(event.clipboardData.files));
at("test").addEventListener("click", () => takeTest(Math.floor(Math.random() * about.test_images)));

/** Shows one of the run's test images; the page's address then leads to it again, if it is named. */
async function takeTest(number, named = true) {
  try {
    if (named) history.replaceState(null, "", `#test-image-${number}`);
    const test = await ask(`/test-images/${number}`);
    const [, code] = test.picture.split(",");
    const bytes = Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0));
    await look(new Blob([bytes], { type: "image/png" }), `${title(test.class)}: ${test.name}`, test.class);
  } catch (error) {
    complain(error);
  }
}

// --- Beginning, and what goes on in the background ----------------------------------------------

let began = false; // whether what the address names has been shown

async function watch() {
  let again = 2000;
  try {
    about = await ask("/about");
    document.title = `${about.run} · alexnet`;
    at("run").textContent = about.run;
    const [height, width] = about.input;
    at("model").textContent =
      `${about.model} sees ${width} × ${height} pixels and tells ${grouped(about.classes.length)} classes apart`;
    show("test", about.test_images > 0);
    if (about.test_images > 0 && !began) {
      began = true;
      const named = location.hash.match(/^#test-image-(\d+)(&explain)?$/);
      if (named) takeTest(Number(named[1])).then(() => { if (named[2]) explain(); });
      else if (image === null && asking === null) takeTest(0, false);
    }
    await follow(about.neighbours);
    const state = about.neighbours.state;
    const opening = about.test_images === null && state !== "failed";
    if (!opening && state !== "making") return;
  } catch (error) {
    if (about === null) complain(error);
    again = 5000;
  }
  setTimeout(watch, again);
}

/** The image in hand is compared anew when more training images are there. */
async function follow(standing) {
  const shown = at("neighbours").dataset.state;
  if (image === null || shown === undefined || shown === "ready" || shown === standing.state && shown !== "making") return;
  if (standing.state === "failed") return presentStanding(standing);
  const { blob } = image;
  const said = await ask("/predict?top=0&neighbours=6&pictures=yes", { method: "POST", body: blob });
  if (image.blob === blob) presentNeighbours(said.neighbours);
}

watch();
