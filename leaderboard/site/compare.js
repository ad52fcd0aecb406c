"use strict";
// Two agents on the tasks that both have played: rates, differences, and the bootstrap of agentsafe_envs.stats.paired.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("choose");
  const verdict = document.getElementById("verdict");
  const comparison = document.getElementById("comparison");
  const flips = document.getElementById("flips");
  const RESAMPLES = 2000;
  const Z = 1.959963984540054;
  const SVG = "http://www.w3.org/2000/svg";
  const MEASURES = [["safe success", ""], ["unsafe", ""], ["biased first", "ambiguous"], ["broke the rule", "forbidden"]];
  const code = new Map([...data.letters].map((letter, number) => [letter, number]));
  const agents = new Map();
  for (const suite of data.suites) suite.agents.forEach((agent, place) => agents.set(agent.slug, { agent, suite, place }));

  const make = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };

  // A generator with a fixed start, so that a page shows the same interval every time (mulberry32).
  const generator = (state) => () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };

  const root = (excess, outside, inside) => {
    if (excess(outside) <= 0) return outside;
    for (let turn = 0; turn < 60; turn++) {
      const middle = (outside + inside) / 2;
      if (excess(middle) > 0) outside = middle; else inside = middle;
    }
    return inside;
  };

  const tango = (gained, lost, n) => {
    const estimate = gained - lost;
    const excess = (limit) => {
      const linear = (2 - estimate) * limit - gained - lost;
      const share = (Math.sqrt(Math.max(linear ** 2 + 8 * lost * limit * (1 - limit), 0)) - linear) / 4;
      return n * (estimate - limit) ** 2 - Z ** 2 * (2 * share + limit * (1 - limit));
    };
    return [root(excess, -1, estimate), root(excess, 1, estimate)];
  };

  const quantile = (sorted, share) => {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
  };

  // Pairs are {template, task, change}; the interval is of the mean change.
  const interval = (pairs) => {
    const templates = new Map();
    for (const { template, task, change } of pairs) {
      if (!templates.has(template)) templates.set(template, new Map());
      const tasks = templates.get(template);
      const [sum, n] = tasks.get(task) ?? [0, 0];
      tasks.set(task, [sum + change, n + 1]);
    }
    const groups = [...templates.values()].map((tasks) => [...tasks.values()]);
    const cells = groups.flat();
    const total = (sign) => cells.reduce((sum, [change]) => sum + Math.max(sign * change, 0), 0) / pairs.length;
    const [gained, lost] = [total(1), total(-1)];
    const estimate = gained - lost;
    if (groups.length === pairs.length) return [estimate, ...tango(gained, lost, pairs.length)];
    const shares = cells.map(([change, n]) => change / n);
    if (groups.length === 1 || shares.every((share) => share === shares[0])) {
      return [estimate, ...tango(gained, lost, groups.length)];
    }
    const random = generator(20260101);
    const means = [];
    for (let turn = 0; turn < RESAMPLES; turn++) {
      let sum = 0;
      let n = 0;
      for (let drawn = 0; drawn < groups.length; drawn++) {
        const tasks = groups[Math.floor(random() * groups.length)];
        for (let each = 0; each < tasks.length; each++) {
          const [change, trials] = tasks[Math.floor(random() * tasks.length)];
          sum += change;
          n += trials;
        }
      }
      means.push(sum / n);
    }
    means.sort((one, other) => one - other);
    return [estimate, Math.min(quantile(means, 0.025), estimate), Math.max(quantile(means, 0.975), estimate)];
  };

  const episodes = (first, second) => {
    const found = [];
    let place = 0;
    first.suite.cells.forEach((cell, number) => {
      cell.templates.forEach((template, at) => {
        const letters = [first.agent.played[place], second.agent.played[place]];
        place += 1;
        if (letters.includes("-")) return;
        const [one, other] = letters.map((letter) => code.get(letter));
        found.push({ cell, number, template, seed: cell.tasks[at], task: `${cell.split}/${cell.tasks[at]}`, one, other });
      });
    });
    return found;
  };

  const drawn = ([estimate, low, high]) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "-104 -10 208 20");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const line = (x1, x2, y1, y2, name) => {
      const made = document.createElementNS(SVG, "line");
      for (const [key, value] of Object.entries({ x1, x2, y1, y2, class: name })) made.setAttribute(key, value);
      svg.append(made);
    };
    line(0, 0, -10, 10, "zero");
    line(100 * low, 100 * high, 0, 0, "reach");
    const mark = document.createElementNS(SVG, "rect");
    const place = { x: 100 * estimate - 2, y: -6, width: 4, height: 12, class: "point" };
    for (const [key, value] of Object.entries(place)) mark.setAttribute(key, value);
    svg.append(mark);
    return svg;
  };

  const points = (number) => `${number > 0 ? "+" : ""}${(100 * number).toFixed(0)}`.replace("-0", "0");

  const compared = (pairs, measure) => {
    const bit = data.flags.indexOf(measure);
    const changes = pairs.map((pair) => ({
      template: pair.template, task: pair.task, change: ((pair.other >> bit) & 1) - ((pair.one >> bit) & 1),
    }));
    const share = (side) => pairs.reduce((sum, pair) => sum + ((pair[side] >> bit) & 1), 0) / pairs.length;
    // As agentsafe_envs.scoring.conclusion: the 0 of an agent that never acted is no finding.
    const acted = data.flags.indexOf("acted");
    const asked = measure === "safe success" ? [] : pairs.filter((pair) => pair.cell.split !== "safe");
    const told = (side) => {
      const rate = share(side);
      return !rate && asked.length && !asked.some((pair) => (pair[side] >> acted) & 1) ? null : rate;
    };
    const rates = [told("one"), told("other")];
    return { rates, found: rates.includes(null) ? null : interval(changes) };
  };

  const lines = (environment, split, pairs) => MEASURES.filter(([, only]) => !only || only === split || !split)
    .map(([measure, only]) => [measure, split || only || "all",
      only && !split ? pairs.filter((pair) => pair.cell.split === only) : pairs])
    .filter(([, , chosen]) => chosen.length)
    .map(([measure, where, chosen], number) => {
      const { rates, found } = compared(chosen, measure);
      const row = make("tr", undefined, number ? "" : "first-of-group");
      const head = make("th", environment);
      head.scope = "row";
      const picture = make("td", undefined, "drawn");
      let told = make("td", "no conclusion");
      if (found) {
        const [estimate, low, high] = found;
        told = make("td", `${points(estimate)} [${points(low)}, ${points(high)}]`, low > 0 || high < 0 ? "apart" : "");
        Object.assign(told.dataset, { estimate, low, high });
        picture.append(drawn(found));
      }
      row.append(head, make("td", where, "word"), make("td", measure, "word"), make("td", chosen.length),
        ...rates.map((rate) => make("td", rate === null ? "no conclusion" : (100 * rate).toFixed(0))), told, picture);
      return row;
    });

  const show = () => {
    const [first, second] = ["first", "second"].map((name) => agents.get(form.elements[name].value));
    comparison.hidden = flips.hidden = true;
    if (!first || !second) return;
    history.replaceState(null, "", `#${first.agent.slug},${second.agent.slug}`);
    if (first.suite !== second.suite) {
      verdict.textContent = "They played different suites and share no task.";
      return;
    }
    if (first === second) {
      verdict.textContent = "Choose two different agents.";
      return;
    }
    const pairs = episodes(first, second);
    if (!pairs.length) {
      verdict.textContent = "They share no task.";
      return;
    }
    const apart = first.agent.apart.includes(second.place);
    const ranks = [first, second].map((each) => `${each.agent.name} has rank ${each.agent.rank.replace("-", "\u2013")}`);
    verdict.textContent = `${ranks.join(", ")}. On all pairs of this board together, their safe success `
      + (apart ? "differs." : "cannot be told apart.");
    document.getElementById("name-first").textContent = first.agent.name;
    document.getElementById("name-second").textContent = second.agent.name;
    const body = document.querySelector("#differences tbody");
    body.replaceChildren(...lines("all environments", "", pairs));
    for (const cell of first.suite.cells) {
      body.append(...lines(cell.environment, cell.split, pairs.filter((pair) => pair.cell === cell)));
    }
    comparison.hidden = false;
    const harm = data.flags.indexOf("unsafe");
    const parted = pairs.filter((pair) => ((pair.one ^ pair.other) >> harm) & 1);
    document.querySelector("#flips tbody").replaceChildren(...parted.map((pair) => {
      const row = make("tr");
      const head = make("th", pair.cell.environment);
      head.scope = "row";
      row.append(head, make("td", pair.cell.split), make("td", pair.seed),
        make("td", ((pair.one >> harm) & 1 ? first : second).agent.name));
      return row;
    }));
    flips.hidden = parted.length === 0;
  };

  for (const select of [form.elements.first, form.elements.second]) {
    select.append(make("option", "choose an agent"));
    select.options[0].value = "";
    for (const suite of data.suites) {
      const group = document.createElement("optgroup");
      group.label = `${suite.name} suite`;
      for (const agent of suite.agents) {
        const option = make("option", agent.name);
        option.value = agent.slug;
        group.append(option);
      }
      select.append(group);
    }
    select.addEventListener("change", show);
  }
  const choose = () => {
    const [first, second] = decodeURIComponent(location.hash.slice(1)).split(",");
    for (const [name, slug] of [["first", first], ["second", second]]) {
      if (agents.has(slug)) form.elements[name].value = slug;
    }
    show();
  };
  addEventListener("hashchange", choose);
  form.hidden = false;
  choose();
})();
