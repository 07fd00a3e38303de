// Drop pictures anywhere on the page; a chosen file is searched for at once.
function uploadForm() {
  return document.getElementById("upload");
}
for (const event of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(event, (e) => {
    e.preventDefault();
    uploadForm()?.classList.toggle("over", event === "dragover");
  });
}
document.addEventListener("drop", (e) => {
  const form = uploadForm();
  if (form && e.dataTransfer.files.length) {
    form.elements.image.files = e.dataTransfer.files;
    form.requestSubmit();
  }
});
// A link that acts as a button also obeys the space bar.
document.addEventListener("keydown", (e) => {
  if (e.key === " " && e.target.matches("a[role=button]")) {
    e.preventDefault();
    e.target.click();
  }
});
