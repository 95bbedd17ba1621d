// The slider through an order's versions goes where it is let go of; without this there is a button.
const slider = document.getElementById("version");
slider.form.querySelector("button").hidden = true;
slider.addEventListener("input", () => { slider.form.querySelector("output").value = slider.value; });
slider.addEventListener("change", () => slider.form.requestSubmit());
