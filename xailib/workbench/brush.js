// A picture to paint on, and beside it what the network says of the rest. Python gets the mask, and sends the answer.

const STEP = 1 / 28; // of the picture, for the arrow keys
const percent = p => `${(100 * p).toFixed(1)} %`;

function make(tag, parent, properties = {}, style = {}) {
  const it = Object.assign(document.createElement(tag), properties);
  Object.assign(it.style, style);
  parent.append(it);
  return it;
}

function bar(parent, label, value) {
  const line = make("div", parent, { className: "xw-row" });
  make("span", line, { textContent: label, className: "xw-name" });
  make("span", make("span", line, { className: "xw-track" }), { className: "xw-now" }, { width: `${100 * value}%` });
  make("span", line, { textContent: percent(value), className: "xw-value" });
}

function render({ model, el }) {
  el.classList.add("xw-brush");
  const left = make("div", el), right = make("div", el, { className: "xw-answer" });
  const canvas = make("canvas", left, { width: 672, height: 672, tabIndex: 0 });
  canvas.setAttribute("role", "application");
  const tools = make("div", left, { className: "xw-tools" });
  const size = make("input", make("label", tools, { textContent: "brush " }), { type: "range", min: 2, max: 30, value: 9 });
  size.setAttribute("aria-label", "size of the brush");
  const rub = make("button", tools, { textContent: "rub out", type: "button" });
  const swap = make("button", tools, { textContent: "swap", type: "button", title: "hide what is seen, show what is hidden" });
  const clear = make("button", tools, { textContent: "clear", type: "button" });
  const help = "Paint with the mouse. Or by keys: arrows move the brush, Space paints, Shift with an arrow paints on the way.";
  make("p", left, { textContent: help, className: "xw-help" });
  const said = make("div", right);
  said.setAttribute("role", "status");
  const mask = document.createElement("canvas"), photo = new Image(), pen = canvas.getContext("2d");
  let at = { x: 0.5, y: 0.5 }, last = null, erase = false, waiting = false, changed = false;

  const paper = () => mask.getContext("2d", { willReadFrequently: true });
  const radius = () => (mask.width * size.value) / 100;

  function draw() {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (photo.naturalWidth) pen.drawImage(photo, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 0.86;
    pen.drawImage(mask, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 1;
    for (const [colour, width] of [["#000", 5], ["#fff", 2]]) {
      pen.beginPath();
      pen.arc(at.x * canvas.width, at.y * canvas.height, (canvas.width * size.value) / 100, 0, 7);
      Object.assign(pen, { strokeStyle: colour, lineWidth: width });
      pen.stroke();
    }
  }

  function paint(from, to) {
    const on = paper();
    on.globalCompositeOperation = erase ? "destination-out" : "source-over";
    Object.assign(on, { lineCap: "round", lineWidth: 2 * radius(), strokeStyle: "#111" });
    on.beginPath();
    on.moveTo(from.x * mask.width, from.y * mask.height);
    on.lineTo(to.x * mask.width + 0.01, to.y * mask.height);
    on.stroke();
    tell();
  }

  function tell() { // one mask at a time: the next goes when the answer to the last is here
    draw();
    if (waiting) { changed = true; return; }
    waiting = true;
    changed = false;
    const rgba = paper().getImageData(0, 0, mask.width, mask.height).data;
    const bytes = Uint8Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i + 3]);
    model.set("mask", new DataView(bytes.buffer));
    model.set("asked", model.get("asked") + 1);
    model.save_changes();
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    at = last = place(event);
    paint(at, at);
  });
  canvas.addEventListener("pointermove", event => {
    const from = last;
    at = place(event);
    if (from) paint(from, (last = at)); else draw();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });

  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", event => {
    if (!(event.key in ways) && event.key !== " ") return;
    event.preventDefault();
    const from = at, [x, y] = ways[event.key] ?? [0, 0], inside = value => Math.min(1, Math.max(0, value));
    at = { x: inside(at.x + x * STEP), y: inside(at.y + y * STEP) };
    if (event.key === " " || event.shiftKey) paint(from, at); else draw();
  });

  rub.onclick = () => { erase = !erase; rub.setAttribute("aria-pressed", erase); };
  size.oninput = draw;
  swap.onclick = () => {
    const on = paper(), pixels = on.getImageData(0, 0, mask.width, mask.height);
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([17, 17, 17, 255 - pixels.data[i + 3]], i);
    on.putImageData(pixels, 0, 0);
    tell();
  };
  clear.onclick = () => { paper().clearRect(0, 0, mask.width, mask.height); tell(); };

  function answer() {
    waiting = false;
    const reply = model.get("reply");
    said.replaceChildren();
    if (reply.problem) { make("p", said, { textContent: reply.problem, className: "xw-problem" }); return; }
    if (!("after" in reply)) return;
    make("div", said, { textContent: reply.label, className: "xw-label" });
    const big = make("div", said, { className: "xw-big" });
    make("span", big, { textContent: percent(reply.before), className: "xw-was" });
    make("span", big, { textContent: ` → ${percent(reply.after)}` });
    make("div", said, { className: "xw-row xw-scores",
      textContent: `your mask: average drop ${reply.drop.toFixed(0)}, average gain ${reply.gain.toFixed(0)}` });
    make("div", said, { textContent: "What the network sees now", className: "xw-head" });
    for (const [name, p] of reply.guesses) bar(said, name, p);
    if (changed) tell();
  }

  function start() { // another picture, or another size: a clean sheet
    const side = model.get("size");
    if (mask.width !== side) Object.assign(mask, { width: side, height: side });
    canvas.setAttribute("aria-label", `${model.get("title")}. ${help}`);
    const url = URL.createObjectURL(new Blob([model.get("photograph")], { type: "image/jpeg" }));
    photo.onload = () => { URL.revokeObjectURL(url); draw(); };
    photo.src = url;
  }

  model.on("change:photograph", () => { paper().clearRect(0, 0, mask.width, mask.height); start(); });
  model.on("change:reply", answer);
  Object.assign(mask, { width: model.get("size"), height: model.get("size") });
  start();
  answer();
  // inside the workbench keys belong to its controls: JupyterLab would take letters, arrows and Enter for its commands
  const keep = event => event.stopPropagation();
  const seen = new ResizeObserver(() => (el.closest(".xw-bench") ?? el).addEventListener("keydown", keep));
  seen.observe(el);
  return () => seen.disconnect();
}

export default { render };
