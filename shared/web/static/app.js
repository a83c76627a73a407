// Small behaviour that htmx has no attribute for. No inline handlers: the pages' policy forbids them.
(() => {
  "use strict";

  const root = document.documentElement;
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-switch]")) {
      root.dataset.theme = isDark() ? "light" : "dark";
      localStorage.setItem("finops-theme", root.dataset.theme);
    }
    if (event.target.closest("[data-panel-close]")) closePanel();
    const copy = event.target.closest("[data-copy]");
    if (copy) copyText(copy);
  });

  // A whole table row opens its link; text in it can still be selected, and modified clicks go to the link itself.
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-row]");
    if (!row || event.target.closest("a, button") || String(getSelection())) return;
    row.querySelector("a")?.click();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closePanel();
  });

  function closePanel() {
    const panel = document.getElementById("panel");
    if (!panel || !panel.firstElementChild) return;
    const id = panel.firstElementChild.dataset.request;
    panel.replaceChildren();
    markOpenRow();
    document.getElementById(`row-${id}`)?.querySelector("a")?.focus({ preventScroll: true });
  }

  function markOpenRow() {
    const open = document.querySelector("#panel > [data-request]")?.dataset.request;
    for (const row of document.querySelectorAll("tr[data-row]"))
      row.toggleAttribute("data-open", row.id === `row-${open}`);
  }

  async function copyText(button) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    const label = button.textContent;
    // Browsers lend the clipboard only to pages over TLS or on localhost; elsewhere the text is selected, to be copied by key.
    if (navigator.clipboard) await navigator.clipboard.writeText(source.textContent);
    else getSelection().selectAllChildren(source);
    button.textContent = navigator.clipboard ? "Copied" : "Press Ctrl-C";
    setTimeout(() => (button.textContent = label), 2000);
  }

  // Tabs: buttons with data-tab show the panel of that id among their siblings.
  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[data-tab]");
    if (!tab) return;
    for (const other of tab.parentElement.querySelectorAll("[data-tab]")) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      document.getElementById(other.dataset.tab).hidden = !chosen;
    }
  });

  // Live lists: an element with data-live (seconds) hears "refresh" while the reader is at its top and looking.
  let beat = 0;
  setInterval(() => {
    beat += 1;
    for (const list of document.querySelectorAll("[data-live]")) {
      const wanted = document.getElementById("live")?.checked ?? true;
      const reading = window.scrollY > 240;
      document.getElementById("live-state")?.replaceChildren(wanted && reading ? "paused while you read" : "");
      if (wanted && !reading && !document.hidden && beat % Number(list.dataset.live) === 0)
        list.dispatchEvent(new CustomEvent("refresh"));
    }
  }, 1000);

  document.addEventListener("htmx:afterSwap", (event) => {
    markOpenRow();
    if (event.target.id === "panel") event.target.querySelector("[data-panel-close]")?.focus();
  });

  // A form with data-skip-empty leaves its empty fields out of the address.
  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.target.matches?.("form[data-skip-empty]")) return;
    const filled = event.detail.parameters;
    for (const name of Object.keys(filled)) if (filled[name] === "") delete filled[name];
  });

  // An answer that is an error is shown as what it says, but never replaces rows by an error.
  document.addEventListener("htmx:responseError", (event) => say(event.detail.xhr.status));
  document.addEventListener("htmx:sendError", () => say(0));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) document.getElementById("connection")?.setAttribute("hidden", "");
  });
  function say(status) {
    const place = document.getElementById("connection");
    if (!place || status === 401) return;
    place.textContent =
      status === 0 ? "The server does not answer. What you see may be old." : `The server answered with an error (${status}). What you see may be old.`;
    place.removeAttribute("hidden");
  }

  // Times are sent in UTC; show them where the reader is.
  function localTimes(scope) {
    for (const time of scope.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(time.dateTime);
      const today = at.toDateString() === new Date().toDateString();
      const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
      const day = at.toLocaleDateString([], { month: "short", day: "2-digit", ...(at.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" }) });
      time.title = `${time.dateTime} (UTC)`;
      time.textContent = today && !time.hasAttribute("data-day") ? clock : `${day} ${clock}`;
      time.setAttribute("data-local", "");
    }
  }
  document.addEventListener("DOMContentLoaded", () => localTimes(document));
  document.addEventListener("htmx:load", (event) => localTimes(event.target));
  localTimes(document);
})();
