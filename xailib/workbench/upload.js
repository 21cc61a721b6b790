// A file from the reader's disk: chosen, or dropped here. What is too large for the way to the kernel is named at once.

function render({ model, el }) {
  el.classList.add("xw-upload");
  const label = document.createElement("label"), input = document.createElement("input");
  label.append("your own: choose or drop a photograph", input);
  Object.assign(input, { type: "file", accept: "image/*" });
  el.append(label);

  async function send(file) {
    if (!file) return;
    const most = model.get("most");
    const fits = file.size <= most;
    const content = fits ? await file.arrayBuffer() : new ArrayBuffer(0);
    model.set({ name: file.name, bytes: file.size, content: new DataView(content), count: model.get("count") + 1 });
    model.save_changes();
    input.value = ""; // so that the same file can be chosen again
  }

  input.onchange = () => send(input.files[0]);
  label.ondragover = event => { event.preventDefault(); label.classList.add("xw-over"); };
  label.ondragleave = () => label.classList.remove("xw-over");
  label.ondrop = event => {
    event.preventDefault();
    label.classList.remove("xw-over");
    send(event.dataTransfer.files[0]);
  };
}

export default { render };
