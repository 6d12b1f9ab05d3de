// Each plot is enlarged by its view box, so that nothing has to be drawn again.
for (const svg of document.querySelectorAll("figure svg")) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  let view = { x: 0, y: 0, scale: 1 };
  let held = null;
  const show = () => {
    const [w, h] = [width / view.scale, height / view.scale];
    view.x = Math.min(Math.max(view.x, 0), width - w);
    view.y = Math.min(Math.max(view.y, 0), height - h);
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${w} ${h}`);
  };
  const unit = () => width / view.scale / svg.clientWidth;
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = svg.getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    const before = unit();
    view.scale = Math.min(Math.max(view.scale * Math.exp(-event.deltaY / 400), 1), 40);
    view.x += at[0] * (before - unit());
    view.y += at[1] * (before - unit());
    show();
  }, { passive: false });
  svg.addEventListener("pointerdown", (event) => {
    held = [event.clientX, event.clientY];
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    view.x -= (event.clientX - held[0]) * unit();
    view.y -= (event.clientY - held[1]) * unit();
    held = [event.clientX, event.clientY];
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    svg.addEventListener(end, () => { held = null; });
  }
  svg.addEventListener("dblclick", () => {
    view = { x: 0, y: 0, scale: 1 };
    show();
  });
}
