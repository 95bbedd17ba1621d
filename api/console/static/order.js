// The slider through an order's versions: dragged, it goes where it is let go of. By keyboard, where each key press is a
// change, the number follows, and Enter or the button goes there.
const slider = document.getElementById("version");
let dragged = false;
slider.addEventListener("pointerdown", () => { dragged = true; });
slider.addEventListener("keydown", (event) => {
  dragged = false;
  if (event.key !== "Enter") return;
  event.preventDefault();  // some browsers would send the form for it by themselves, others not
  slider.form.requestSubmit();
});
slider.addEventListener("input", () => { slider.form.querySelector("output").value = slider.value; });
slider.addEventListener("change", () => { if (dragged) slider.form.requestSubmit(); });
