// Buttons and forms that change something: what they hold goes to our own API as JSON, and its answer back to the viewer.

const WHO = "millrace-who";

/** Who acts: kept in this browser, for the record only. Nobody: the server says "page". */
function who() {
  try {
    return localStorage.getItem(WHO) ?? "";
  } catch {
    return "";
  }
}

/** Listens to buttons marked `data-post` and forms with it; `failed(why)` shows what went wrong. */
export function listenActs(failed) {
  showName();
  document.addEventListener("acted", showName);
  document.addEventListener("change", (event) => {
    if (event.target.id !== "who") return;
    try {
      localStorage.setItem(WHO, event.target.value.trim());
    } catch {
      // A browser that keeps nothing: the name is good for this page.
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-post]");
    if (button) send(button, button.dataset.post, JSON.parse(button.dataset.body ?? "{}"), failed);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-post]");
    if (!form) return;
    event.preventDefault();
    try {
      send(event.submitter ?? form, form.dataset.post, fields(form, event.submitter), failed, form);
    } catch (error) {
      failed(error.message);
    }
  });
}

function showName() {
  const field = document.getElementById("who");
  if (field && document.activeElement !== field) field.value = who();
}

/** A form's fields by name: ticks as truths, `data-as="json"` parsed, `data-as="list"` alone in a list. */
function fields(form, submitter) {
  const body = {};
  for (const element of form.elements) {
    if (!element.name || element.type === "submit") continue;
    if (element.type === "checkbox") body[element.name] = element.checked;
    else if (element.dataset.as === "list") body[element.name] = [element.value];
    else if (element.dataset.as === "json") body[element.name] = parsed(element);
    else body[element.name] = element.value;
  }
  if (submitter?.name) body[submitter.name] = submitter.value === "true";
  return body;
}

function parsed(element) {
  try {
    return JSON.parse(element.value);
  } catch (error) {
    throw new Error(`${element.labels?.[0]?.textContent.trim() ?? element.name}: ${error.message}`);
  }
}

async function send(pressed, path, body, failed, form) {
  if (pressed.getAttribute("aria-busy")) return;
  pressed.setAttribute("aria-busy", "true");
  const name = document.getElementById("who")?.value.trim() || who();
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(name ? { ...body, by: name } : body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? `the server answered ${response.status}`);
    document.getElementById("notice").hidden = true;
    const told = answer.told ?? pressed.dataset.done ?? "done";
    document.getElementById("spoken").textContent = told;
    if (form) show(form.querySelector("[data-result]"), told, answer.lines ?? []);
    document.dispatchEvent(new CustomEvent("acted"));
  } catch (error) {
    if (form) show(form.querySelector("[data-result]"), error.message, [], true);
    else failed(error.message);
  } finally {
    pressed.removeAttribute("aria-busy");
  }
}

/** What a form's request came to, in words, and line by line. */
function show(place, told, lines, wrong = false) {
  if (!place) return;
  const first = document.createElement("p");
  first.textContent = told;
  first.classList.toggle("bad", wrong);
  const list = document.createElement("ul");
  for (const line of lines) {
    const item = document.createElement("li");
    item.textContent = line;
    list.append(item);
  }
  place.replaceChildren(first, ...(lines.length ? [list] : []));
}
