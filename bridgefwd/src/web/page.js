"use strict";
(() => {
  // Rates are made here, of counters: the daemon does nothing until it is asked.
  const HISTORY_S = 120;
  const FLOWS_SHOWN = 200;
  // As many as one answer has.
  const FLOWS_ASKED = 10000;
  // With many flows their list is long: it is asked for less often.
  const MANY_FLOWS = 2000;
  const MANY_FLOWS_S = 10;

  const byId = (id) => document.getElementById(id);
  const seen = { pairs: new Map(), reasons: new Map(), flows: new Map(), total: new Map() };
  let latest = null;
  let flows = [];
  let flowsAt = -Infinity;
  let paused = false;
  let timer = 0;
  let failing = false;

  // Numbers for people, cut as the commands do.
  function scaled(count, exact, units) {
    let unit = 0;
    let scale = 1;
    if (count >= exact) {
      while (unit + 1 < units.length && count / scale >= 1000) {
        scale *= 1000;
        unit += 1;
      }
    }
    const whole = Math.floor(count / scale);
    if (scale > 1 && whole < 10) {
      return `${whole}.${Math.floor((count % scale) * 10 / scale)}${units[unit]}`;
    }
    return `${whole}${units[unit]}`;
  }
  const bytes = (count) => scaled(count, 1000, ["B", "kB", "MB", "GB", "TB", "PB", "EB"]);
  const count = (number) => scaled(number, 100000, ["", "k", "M", "G", "T", "P", "E"]);
  const bits = (perSecond) =>
    perSecond < 0.5 ? "0" : scaled(perSecond, 1000, [" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s"]);
  const each = (perSecond) =>
    perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond));
  function duration(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
    if (seconds < 60) return `${seconds}s`;
    if (seconds < 3600) return `${minutes}m${two(seconds % 60)}s`;
    if (seconds < 86400) return `${hours}h${two(minutes % 60)}m`;
    return `${days}d${two(hours % 24)}h`;
  }

  // How much counters grew in a second since they were looked at last. A counter that fell began anew.
  function rates(known, key, numbers, now) {
    const before = known.get(key);
    if (before && before.now === now) return before;
    let grown = numbers.map(() => 0);
    if (before && now > before.now) {
      const seconds = (now - before.now) / 1000;
      grown = numbers.map((number, at) => Math.max(0, number - before.numbers[at]) / seconds);
    }
    const history = before ? before.history : [];
    history.push([now, grown]);
    while (history.length > 0 && now - history[0][0] > HISTORY_S * 1000) history.shift();
    const after = { now, numbers, history, grown };
    known.set(key, after);
    return after;
  }
  function forget(known, now) {
    for (const [key, value] of known) if (value.now !== now) known.delete(key);
  }

  // Elements are kept from one look to the next, so that focus and selection stay where they are.
  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }
  function write(node, text, className) {
    if (node.textContent !== text) node.textContent = text;
    if (node.className !== (className || "")) node.className = className || "";
  }
  function fill(row, cells, headed) {
    while (row.children.length > cells.length) row.lastChild.remove();
    cells.forEach((cell, at) => {
      const [text, className] = Array.isArray(cell) ? cell : [cell, ""];
      let node = row.children[at];
      if (!node) {
        node = element(headed && at === 0 ? "th" : "td");
        if (headed && at === 0) node.scope = "row";
        row.append(node);
      }
      if (text instanceof Node) {
        if (node.firstChild !== text) node.replaceChildren(text);
      } else {
        write(node, text, className);
      }
    });
  }
  function table(id, rows, nothing) {
    const body = byId(id).tBodies[0];
    const columns = byId(id).tHead.rows[0].cells.length;
    if (rows.length === 0) {
      const cell = element("td", nothing, "quiet");
      cell.colSpan = columns;
      const row = element("tr");
      row.append(cell);
      body.replaceChildren(row);
      return;
    }
    if (body.firstChild && body.firstChild.firstChild.colSpan > 1) body.replaceChildren();
    while (body.rows.length > rows.length) body.lastChild.remove();
    rows.forEach((cells, at) => fill(body.rows[at] || body.insertRow(), cells, true));
  }

  // A line of what went over a pair, both ways together.
  function spark(history, now) {
    const name = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(name, "svg");
    svg.setAttribute("viewBox", `0 0 ${HISTORY_S} 20`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(name, "path");
    const points = history.map(([at, grown]) => [at, grown[0] + grown[1]]);
    const most = Math.max(1, ...points.map(([, rate]) => rate));
    const at = ([time, rate]) =>
      `${(HISTORY_S - (now - time) / 1000).toFixed(1)} ${(19 - (rate / most) * 18).toFixed(1)}`;
    path.setAttribute("d", points.length ? `M${points.map(at).join("L")}` : "");
    svg.append(path);
    return svg;
  }

  const STATES = { allowed: "✓ allowed", denied: "✕ denied" };
  const pairKey = (from, to) => `${from}\u0000${to}`;

  function showPairs({ status, stats, pairs, now }) {
    const counts = new Map(stats.pairs.map((pair) => [pairKey(pair.from, pair.to), pair]));
    const listed = pairs.map((pair) => {
      const has = counts.get(pairKey(pair.from, pair.to));
      const zero = { original: 0, reply: 0 };
      const { original, reply } = has ? has.bytes_by_direction : zero;
      const numbers = [original, reply, has ? has.packets : 0, has ? has.refused : 0];
      const { grown, history } = rates(seen.pairs, pairKey(pair.from, pair.to), numbers, now);
      return { pair, has, grown, history };
    });
    forget(seen.pairs, now);
    const busy = ({ grown }) => grown[0] + grown[1];
    const packets = ({ has }) => (has ? has.packets : 0);
    const order = [...listed].sort((a, b) => busy(b) - busy(a) || packets(b) - packets(a));
    table("pairs", order.map(({ pair, has, grown, history }) => [
      `${pair.from} → ${pair.to}`,
      [pair.present ? STATES[pair.state] : `${STATES[pair.state]}, an end is away`, pair.state],
      [bits(grown[0] * 8), "number"],
      [bits(grown[1] * 8), "number"],
      spark(history, now),
      [has ? count(has.packets) : "–", "number"],
      [has ? count(has.flows) : "–", "number"],
      [has ? count(has.refused) : "–", has && grown[3] > 0 ? "number denied" : "number"],
      pair.nat6 === "none" ? pair.nat : `${pair.nat}, IPv6 ${pair.nat6}`,
    ]), "No pair is listed.");
    showMatrix([...status.bridges, ...status.uplinks], listed);
    byId("unlisted").textContent = status.unlisted === "deny"
      ? "What is not listed is dropped."
      : "What is not listed is left to the kernel.";
  }

  function showMatrix(ends, listed) {
    const cells = new Map(listed.map((one) => [pairKey(one.pair.from, one.pair.to), one]));
    const head = byId("matrix").tHead.rows[0];
    fill(head, ["from \\ to", ...ends], false);
    for (const cell of head.cells) {
      if (cell.tagName === "TD") {
        const header = element("th", cell.textContent);
        header.scope = "col";
        cell.replaceWith(header);
      }
    }
    table("matrix", ends.map((from) => [from, ...ends.map((to) => {
      if (from === to) return ["·", "own"];
      const one = cells.get(pairKey(from, to));
      if (!one) return ["– not listed", "quiet"];
      const rate = (one.grown[0] + one.grown[1]) * 8;
      return [rate < 0.5 ? STATES[one.pair.state] : `${STATES[one.pair.state]}, ${bits(rate)}`, one.pair.state];
    })]), "Nothing is managed.");
  }

  function showReasons({ stats, now }) {
    const all = byId("all-reasons").checked;
    const rows = Object.entries(stats.reasons).map(([name, reason]) => {
      const { grown } = rates(seen.reasons, name, [reason.packets], now);
      return { name, reason, rate: grown[0] };
    });
    rows.sort((a, b) => b.rate - a.rate || b.reason.packets - a.reason.packets);
    const shown = rows.filter(({ reason }) => all || reason.packets > 0);
    table("reasons", shown.map(({ name, reason, rate }) => [
      name,
      [reason.verdict, reason.verdict],
      [each(rate), "number"],
      [count(reason.packets), "number"],
      [bytes(reason.bytes), "number"],
      [reason.explanation, "meaning"],
    ]), "Nothing was seen yet.");
  }

  function showSources({ stats }) {
    table("sources", stats.sources.map((source) => [
      source.source,
      source.bridge || "–",
      [count(source.flows), "number"],
      [count(source.limit), "number"],
      [count(source.refused), source.refused > 0 ? "number denied" : "number"],
    ]), "Nobody has flows.");
  }

  const end = (address, port) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
  const named = (text, name) => (name ? `${text} (${name})` : text);
  function source(flow, tuple) {
    return flow.proto.startsWith("icmp") ? `${tuple.src} id ${tuple.src_port}` : end(tuple.src, tuple.src_port);
  }
  function takeFlows(list, now) {
    flows = list.map((flow) => {
      const { original, translated } = flow;
      const key = [flow.proto, original.src, original.src_port, original.dst, original.dst_port, flow.from].join(" ");
      const { grown } = rates(seen.flows, key, [flow.bytes.original + flow.bytes.reply], now);
      seen.flows.get(key).history.length = 0;
      const client = named(source(flow, original), flow.client);
      const server = original.dst_port === 0 ? original.dst : end(original.dst, original.dst_port);
      const as = source(flow, translated);
      const cells = {
        pair: `${flow.from} → ${flow.to}`,
        client,
        server: named(server, flow.server),
        as: as === source(flow, original) ? "itself" : as,
      };
      const text = [...Object.values(cells), flow.proto, flow.state].join(" ").toLowerCase();
      return { flow, rate: grown[0], size: flow.bytes.original + flow.bytes.reply, cells, text };
    });
    forget(seen.flows, now);
  }
  const ORDERS = {
    rate: (a, b) => b.rate - a.rate || a.flow.idle_s - b.flow.idle_s,
    bytes: (a, b) => b.size - a.size,
    young: (a, b) => a.flow.age_s - b.flow.age_s,
    old: (a, b) => b.flow.age_s - a.flow.age_s,
    idle: (a, b) => b.flow.idle_s - a.flow.idle_s,
  };
  function showFlows() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = flows.filter(({ text }) => words.every((word) => text.includes(word)));
    matching.sort(ORDERS[byId("order").value]);
    const shown = matching.slice(0, FLOWS_SHOWN);
    byId("flow-count").textContent = shown.length === flows.length
      ? `${flows.length} flows`
      : `${shown.length} of ${matching.length} that match, of ${flows.length} flows`;
    if (flows.length === FLOWS_ASKED) {
      byId("flow-count").textContent += ` (the first ones; ${latest.stats.flows.live} are alive)`;
    }
    table("flows", shown.map(({ flow, rate, cells }) => [
      cells.pair, flow.proto, flow.state, cells.client, cells.server, cells.as,
      [bits(rate * 8), "number"],
      [bytes(flow.bytes.original), "number"],
      [bytes(flow.bytes.reply), "number"],
      [duration(flow.age_s), "number"],
      [duration(flow.idle_s), "number"],
    ]), flows.length === 0 ? "No flow is alive." : "None matches.");
  }

  function showSummary({ status, stats, now }) {
    const { grown } = rates(seen.total, "", [stats.packets, stats.bytes], now);
    byId("summary").textContent =
      `${status.netns ? `${status.netns}, ` : ""}version ${status.version}, up ${duration(status.uptime_s || 0)}; ` +
      `${count(stats.flows.live)} of ${count(stats.flows.limit)} flows; ` +
      `${each(grown[0])} packets/s, ${bits(grown[1] * 8)} seen`;
    byId("warnings").hidden = status.warnings.length === 0;
    const list = byId("warning-list");
    if ([...list.children].map((item) => item.textContent).join("\n") !== status.warnings.join("\n")) {
      list.replaceChildren(...status.warnings.map((warning) => element("li", warning)));
    }
  }

  async function ask(path) {
    const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error((await answer.json()).error || answer.statusText);
    return answer.json();
  }
  // Said only when it changes: a screen reader reads it out.
  function say(text, className) {
    write(byId("state"), text, className);
  }

  async function look() {
    try {
      const [status, stats, pairs] = await Promise.all(["v1/status", "v1/stats", "v1/pairs"].map(ask));
      const now = performance.now();
      const often = stats.flows.live <= MANY_FLOWS;
      const dueFlows = often || now - flowsAt >= MANY_FLOWS_S * 1000;
      const list = dueFlows ? await ask(`v1/flows?limit=${FLOWS_ASKED}`) : null;
      latest = { status, stats, pairs, now };
      if (list) {
        flowsAt = performance.now();
        takeFlows(list, flowsAt);
        showFlows();
      }
      showSummary(latest);
      showPairs(latest);
      showReasons(latest);
      showSources(latest);
      if (failing || byId("state").className !== "live") say("Up to date.", "live");
      failing = false;
    } catch (error) {
      if (!failing) {
        say(`No answer since ${new Date().toLocaleTimeString()} (${error.message}); trying again.`, "stale");
      }
      failing = true;
    }
  }
  async function loop() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    await look();
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(loop, Number(byId("every").value) * 1000);
  }

  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    if (paused) say("Paused.", "paused");
    loop();
  });
  byId("every").addEventListener("change", loop);
  byId("filter").addEventListener("input", showFlows);
  byId("order").addEventListener("change", showFlows);
  byId("all-reasons").addEventListener("change", () => latest && showReasons(latest));
  // Nobody looks: nobody asks.
  document.addEventListener("visibilitychange", loop);
  loop();
})();
