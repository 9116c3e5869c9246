// What people say on a page: forms marked data-say go to the server as JSON, with the name of who says it, and the answer is told.

// As act.js keeps it: one name for all pages.
const NAME = "millrace-who";

/** The name of whoever sits here; asked for when there is none. */
function who() {
  const field = document.getElementById("analyst");
  const name = field?.value.trim() ?? "";
  if (!name) {
    field?.setAttribute("aria-invalid", "true");
    field?.focus();
  }
  return name;
}

/** The fields of a form as the body of a request; empty ones are left out, unless emptiness is what is said. */
function said(form, submitter, by) {
  const body = { by };
  for (const [name, value] of new FormData(form, submitter)) {
    const field = submitter?.name === name ? submitter : form.elements.namedItem(name);
    if (field?.hasAttribute?.("data-null")) body[name] = null;
    else if (value !== "" && field?.hasAttribute?.("data-number")) body[name] = Number(value);
    else if (value !== "" && field?.hasAttribute?.("data-list")) body[name] = [value];
    else if (value !== "") body[name] = value;
  }
  if (submitter?.hasAttribute("data-mine")) body.assigned_to = by;
  // Handed to nobody: said by leaving the name empty.
  else if (form.elements.namedItem("assigned_to")) body.assigned_to ??= null;
  return body;
}

function tell(form, text, bad) {
  const place = form.parentElement.querySelector(".said") ?? document.getElementById("notice");
  place.textContent = text;
  place.classList.toggle("bad", bad);
  place.hidden = false;
  if (place.id === "notice") document.getElementById("spoken").textContent = text;
}

async function send(form, submitter) {
  const by = who();
  if (!by) {
    tell(form, "Write your name first: it stands beside what you say.", true);
    return;
  }
  const target = submitter?.getAttribute("formaction") ?? form.getAttribute("action");
  // Before the buttons rest: one that rests says nothing.
  const body = JSON.stringify(said(form, submitter, by));
  const buttons = [...form.querySelectorAll("button")];
  buttons.forEach((button) => (button.disabled = true));
  try {
    const answer = await fetch(target, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.detail ?? `the server answered ${answer.status}`);
    tell(form, `Said: ${submitter?.textContent.trim() ?? "done"}, by ${by}.`, false);
    if (form.hasAttribute("data-clear")) form.reset();
  } catch (error) {
    tell(form, `Not taken: ${error.message}`, true);
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

/** Listens to the forms, and keeps the name for the next page. */
export function listenSaying() {
  const field = () => document.getElementById("analyst");
  const remembered = () => {
    if (field() && !field().value) field().value = localStorage.getItem(NAME) ?? "";
  };
  remembered();
  document.addEventListener("input", (event) => {
    if (event.target.id !== "analyst") return;
    event.target.removeAttribute("aria-invalid");
    localStorage.setItem(NAME, event.target.value.trim());
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-say]");
    if (!form) return;
    event.preventDefault();
    send(form, event.submitter);
  });
}
