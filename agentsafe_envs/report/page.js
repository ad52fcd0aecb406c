"use strict";
(() => {
  const episodes = JSON.parse(document.getElementById("episodes-data").textContent);
  const [browser, form, shown, list, detail] = ["browser", "filters", "shown", "list", "detail"].map((id) =>
    document.getElementById(id));
  const panes = list.parentElement;
  const byId = new Map(episodes.map((episode) => [episode.id, episode]));
  const LOOKS = { "unsafe": "bad", "unclear": "bad", "broke the rule": "bad", "verdict differs": "bad", "unscored": "bad", "biased first": "biased", "flipped": "biased", "success": "good" };

  // Text only ever becomes text: nothing here reads markup.
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const label = (agent) => document.querySelector(`.agent:has([data-marker="${agent}"])`).cloneNode(true);
  const mark = (name) => make("span", { class: `mark mark-${LOOKS[name] ?? "plain"}` }, name);
  const address = (episode) => `#episode=${episode.id}`;
  const title = (episode) => `${episode.environment}, ${episode.split}, seed ${episode.seed}` + (episode.trial ? `, trial ${episode.trial}` : "");

  const parsed = (text) => {
    try { return JSON.parse(text); } catch { return undefined; }
  };
  // JSON with what fits on one line left on one line.
  const laid = (value, indent = "") => {
    const flat = JSON.stringify(value);
    if (flat.length <= 96 || value === null || typeof value !== "object") return flat;
    const inner = indent + "  ";
    const parts = Array.isArray(value)
      ? value.map((each) => inner + laid(each, inner))
      : Object.entries(value).map(([name, each]) => `${inner}${JSON.stringify(name)}: ${laid(each, inner)}`);
    const [open, close] = Array.isArray(value) ? "[]" : "{}";
    return `${open}\n${parts.join(",\n")}\n${indent}${close}`;
  };
  const result = (text) => {
    const value = parsed(text);
    return value !== null && typeof value === "object" ? laid(value) : text;
  };
  const action = (step) => {
    const call = step.status === "invalid" ? undefined : parsed(step.action);
    if (typeof call?.name !== "string") return step.action;
    const given = call.arguments ?? {};
    if (call.name === "bash" && typeof given.command === "string") return `$ ${given.command}`;
    return `${call.name}(${Object.entries(given).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ")})`;
  };

  // What the agent said next to a call.
  const note = (step) => {
    const call = step.status === "invalid" ? undefined : parsed(step.action);
    return typeof call?.note === "string" && call.note ? [row("said", [make("pre", {}, call.note)], "said")] : [];
  };

  // What an operator would say was done, the first of it.
  const harmed = ({ steps = [] }) => {
    const found = steps.flatMap((each) => each.harms);
    if (!found.length) return [];
    const more = found.length > 1 ? `, and ${found.length - 1} more` : "";
    return [make("span", { class: "hurt" }, found[0].slice(found[0].indexOf(": ") + 2) + more)];
  };
  const entry = (episode) => {
    const link = make("a", { href: address(episode), tabindex: "-1" },
      make("span", { class: "what" }, label(episode.agent)),
      make("span", {}, title(episode)),
      ...harmed(episode),
      make("span", { class: "task" }, episode.instruction),
      make("span", { class: "marks" }, ...episode.marks.map(mark)));
    return make("li", { "data-id": episode.id }, link);
  };
  const entries = episodes.map(entry);
  const told = (found) => [action(found), found.action, found.result, ...found.changed, ...found.later, ...found.harms];
  const texts = episodes.map(({ instruction, template = "", failure = "", steps = [] }) =>
    [instruction, template, failure, ...steps.flatMap(told)].join("\n").toLowerCase());
  const links = () => [...list.querySelectorAll("li:not([hidden]) a")];

  const filter = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
    episodes.forEach((episode, place) => {
      entries[place].hidden = !(
        (!wanted.environment || episode.environment === wanted.environment)
        && (!wanted.split || episode.split === wanted.split)
        && (!wanted.agent || String(episode.agent) === wanted.agent)
        && (!wanted.mark || episode.marks.includes(wanted.mark))
        && words.every((word) => texts[place].includes(word)));
    });
    const found = links();
    shown.textContent = `${found.length} of ${episodes.length} shown`;
    reach(found.find((link) => link.hasAttribute("aria-current")) ?? found[0]);
  };
  // One stop for Tab; the arrow keys do the rest.
  const reach = (wanted) => {
    list.querySelectorAll('a[tabindex="0"]').forEach((link) => link.setAttribute("tabindex", "-1"));
    wanted?.setAttribute("tabindex", "0");
  };

  const row = (name, content, kind = "") => make("div", { class: kind }, make("dt", {}, name), make("dd", {}, ...content));
  const lines = (all) => all.map((line) => make("pre", {}, line));
  const step = (found, number) => {
    const facts = [...note(found), row("did", [make("pre", {}, action(found))], "did"), row("saw", [make("pre", {}, result(found.result))], "saw")];
    if (found.status !== "ok") facts.push(row("status", [found.status]));
    if (found.changed.length) facts.push(row("changed", lines(found.changed)));
    if (found.later.length) facts.push(row("later", lines(found.later)));
    facts.push(row("means", [found.means]));
    if (found.prevented) facts.push(row("refused", [`it would have been ${found.prevented}`]));
    if (found.harms.length) facts.push(row("HARM", lines(found.harms), "harm"));
    const marks = [...(found.harms.length ? [["harm", "bad"]] : []), ...(found.means === "biased" ? [["biased means", "biased"]] : [])];
    return make("li", { class: found.harms.length ? "step harmful" : "step", tabindex: "-1" },
      make("header", {}, make("h4", {}, `Step ${number}`), ...marks.map(([name, look]) => make("span", { class: `mark mark-${look}` }, name))),
      make("dl", {}, ...facts));
  };
  const verdict = (first, reasons, bad) => make("div", { class: `verdict${bad ? " verdict-bad" : ""}` },
    make("p", {}, first), make("ul", {}, ...reasons.map((reason) => make("li", {}, reason.trim()))));
  const toHarm = (steps) => {
    const harmful = [...steps.querySelectorAll(".harmful")];
    if (!harmful.length) return [];
    const button = make("button", { type: "button", class: "to-harm" }, "Go to the harm");
    let next = 0;
    button.addEventListener("click", () => {
      const step = harmful[next++ % harmful.length];
      step.focus({ preventScroll: true });
      step.scrollIntoView();
    });
    return [button];
  };
  const cautious = (episode) => make("aside", { class: "cautious", "aria-label": "The same task without harm" },
    make("h4", {}, "Without harm"),
    make("p", { class: "muted" }, "What scripted:cautious does in this task:"),
    make("ol", {}, ...episode.cautious.map((text) => make("li", {}, make("pre", {}, action({ action: text, status: "ok" }))))));
  const story = (episode) => {
    if (episode.failure) return [verdict("unscored: a fault of the machinery, never a score", [episode.failure], true)];
    const measures = Object.entries(episode.measures).map(([name, holds]) => `${name.replaceAll("_", " ")}: ${holds ? "yes" : "no"}`);
    const [first, ...reasons] = episode.verdict;
    const steps = make("ol", { "aria-label": "Steps" }, ...episode.steps.map(step));
    return [
      verdict(first, [...reasons, ...measures], episode.marks.includes("unsafe")),
      ...toHarm(steps),
      ...(episode.cautious.length ? [make("div", { class: "side" }, steps, cautious(episode))] : [steps]),
    ];
  };

  const open = (focus) => {
    const id = location.hash.startsWith("#episode=") ? location.hash.slice(9) : undefined;
    const episode = byId.get(id);
    panes.classList.toggle("opened", id !== undefined);
    list.querySelectorAll("[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
    detail.replaceChildren();
    const back = make("a", { href: "#episodes", class: "only-narrow" }, "all episodes");
    if (!episode) {
      const text = id === undefined ? "Choose an episode to see it step by step." : `No episode ${id} in this report.`;
      detail.append(make("p", { class: "turn" }, back), make("p", { class: "muted" }, text));
      return;
    }
    const link = entries[episodes.indexOf(episode)].firstChild;
    link.setAttribute("aria-current", "true");
    link.scrollIntoView({ block: "nearest" });
    const seen = links();
    const place = seen.indexOf(link); // -1 where the filters hide it
    if (place >= 0) reach(link);
    const same = episodes.filter((other) => other.agent !== episode.agent && title(other) === title(episode)).slice(0, 5);
    const beside = [[place - 1, "previous"], [place + 1, "next"]].filter(([other]) => place >= 0 && seen[other]);
    detail.append(
      make("p", { class: "turn" }, back,
        ...beside.map(([other, name]) => make("a", { href: seen[other].getAttribute("href") }, name))),
      make("h3", { tabindex: "-1" }, title(episode)),
      make("p", {}, label(episode.agent), make("small", {}, episode.template ? ` template ${episode.template}` : "")),
      make("p", { class: "marks" }, ...episode.marks.map(mark)),
      ...(same.length ? [make("p", { class: "same" }, "the same task: ",
        ...same.map((other) => make("a", { href: address(other) }, label(other.agent))))] : []),
      make("div", { class: "instruction" }, make("small", {}, "The agent was asked"), make("p", {}, episode.instruction)),
      ...story(episode));
    if (focus) {
      detail.querySelector("h3").focus({ preventScroll: true });
      detail.scrollIntoView();
    }
  };

  const MOVES = { ArrowDown: (at) => at + 1, ArrowUp: (at) => at - 1, Home: () => 0, End: (_, count) => count - 1 };
  list.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    const found = links();
    const next = move && found[move(found.indexOf(document.activeElement), found.length)];
    if (!next) return;
    event.preventDefault();
    reach(next);
    next.focus();
  });
  list.addEventListener("click", (event) => {
    // The address stays the same when what is open already is chosen again.
    if (event.target.closest("a")?.hash === location.hash) open(true);
  });
  detail.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    panes.classList.remove("opened");
    list.querySelector('a[tabindex="0"]')?.focus();
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => open(true));

  // Largest first, then smallest; names the other way round.
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : column > 0;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
        const order = (a, b) => column ? key(a) - key(b) : key(a).localeCompare(key(b));
        table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => down ? order(b, a) : order(a, b)));
      });
    });
  };

  document.querySelectorAll(".sortable").forEach(sortable);
  list.append(...entries);
  browser.hidden = false;
  filter();
  open(location.hash.startsWith("#episode="));
})();
